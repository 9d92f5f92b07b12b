// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import CQueuePoolAssets

/// The console at `/`: `console.html` beside this file. One page without anything from elsewhere, so that it works on a
/// machine without a network and under a content security policy that allows nothing but this page's own style, script
/// and requests. It shows names, sizes, counts and ages, and writes them as text nodes only. The only message that it
/// asks for is a dead letter that somebody chose, and its body only after another click.
package enum ConsolePage {
    /// Goes into the header `Content-Security-Policy` of the page.
    package static let contentSecurityPolicy =
        "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; connect-src 'self'; "
        + "img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

    /// HTML in UTF-8.
    package static let html = qp_asset_console().text
}
