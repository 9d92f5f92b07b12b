// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import CQueuePoolAssets

/// The REST surface as an OpenAPI 3.1 document: `openapi.json` beside this file. The tests compare its paths with the
/// routes.
package enum OpenAPIDocument {
    /// JSON in UTF-8.
    package static let json = qp_asset_openapi().text
}

extension qp_asset {
    /// The bytes, read as UTF-8.
    var text: String { String(decoding: UnsafeRawBufferPointer(start: start, count: count), as: UTF8.self) }
}
