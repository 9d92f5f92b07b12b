// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

package import QueuePoolCore
package import QueuePoolCurl
import QueuePoolRuntime

/// Somewhere that messages are delivered to.
package protocol DeliveryTarget: Sendable {
    /// What kind of target it is, for logs.
    var kind: String { get }
    func deliver(_ message: WorkMessage, attempt: Int) async -> DeliveryOutcome
    /// - Parameter mayBegin: to be asked as late as a target can before it hands the message over: the process may have
    ///   stood still since the delivery was decided. If it says no, the outcome is `cancelled`.
    func deliver(
        _ message: WorkMessage, attempt: Int, mayBegin: @escaping @Sendable () -> Bool
    ) async -> DeliveryOutcome
}

extension DeliveryTarget {
    /// For targets that hand a message over at once.
    package func deliver(
        _ message: WorkMessage, attempt: Int, mayBegin: @escaping @Sendable () -> Bool
    ) async -> DeliveryOutcome {
        await deliver(message, attempt: attempt)
    }
}

/// Why a text names no target.
public struct DeliveryURLError: Error, Hashable, Sendable, CustomStringConvertible {
    public let description: String
    /// Whether the text is right, but a file that it names is not.
    package let concernsFile: Bool

    static func file(_ why: String) -> DeliveryURLError {
        DeliveryURLError(description: why, concernsFile: true)
    }

    static func refused(_ why: String) -> DeliveryURLError {
        DeliveryURLError(
            description: why
                + "; allowed are stdout:, exec:CMD, http(s)://..., lambda+http(s)://..., and "
                + "smtp(s)://[USER@]HOST:PORT[?OPTION[&OPTION]] with the options tls=off (smtp only), "
                + "password-file=PATH or password-env=NAME, and dkim-domain=DOMAIN with dkim-selector=NAME and "
                + "dkim-key-file=PATH for each key, and the email services ses:REGION, sendgrid:, mailgun:DOMAIN, "
                + "postmark: and resend: with ?key-file=PATH or ?key-env=NAME (not ses:) and their options",
            concernsFile: false)
    }
}

package enum DeliveryURL {
    /// The target of `stdout:`, `exec:CMD`, `http(s)://`, `lambda+http(s)://`, `smtp://` or `smtps://`; reads a password,
    /// a secret or a key from where it is.
    /// - Parameters:
    ///   - concurrency: deliveries under way at one time, at most.
    ///   - clock: by which a command's and a mail server's time is over, and a webhook's requests are dated.
    ///   - signer: of requests to services of AWS.
    package static func target(
        _ text: String, engine: CurlEngine, concurrency: Int = 64, clock: any Clock = SystemClock(),
        signer: RequestSigner? = nil
    ) throws(DeliveryURLError) -> any DeliveryTarget {
        guard let colon = text.firstIndex(of: ":") else { throw .refused("A delivery target needs a scheme") }
        let scheme = text[..<colon].lowercased()
        let rest = String(text[text.index(after: colon)...])
        switch scheme {
        case "stdout":
            guard rest.isEmpty else { throw .refused("stdout: takes nothing after the colon") }
            return StandardOutputTarget()
        case "exec":
            guard !rest.isEmpty else { throw .refused("exec: needs a command") }
            return CommandTarget(command: rest, clock: clock)
        case "http", "https":
            guard rest.hasPrefix("//"), rest.count > 2 else { throw .refused("\(scheme): needs a host") }
            let webhook = try WebhookURL(text)
            return WebhookTarget(url: webhook.url, secrets: webhook.secrets, engine: engine, clock: clock)
        case "lambda+http", "lambda+https":
            guard rest.hasPrefix("//"), rest.count > 2 else { throw .refused("\(scheme): needs a host") }
            let url = String(text.dropFirst("lambda+".count).prefix { $0 != "#" })
            return LambdaTarget(url: url, engine: engine, concurrency: concurrency, clock: clock)
        case "smtp", "smtps":
            let url = try MailURL(scheme: scheme, rest)
            return MailTarget(
                url: "\(scheme)://\(url.authority)", user: url.user, password: try url.readPassword(),
                requiresTLS: url.requiresTLS, signer: try url.readSigner(),
                engine: MailEngine(threadsMax: concurrency, now: { clock.now().milliseconds }))
        case let scheme:
            guard let provider = EmailProvider.of(scheme) else {
                throw .refused("The scheme of a delivery target is not known")
            }
            return try ProviderTarget(
                provider, url: ProviderURL(provider, rest), signer: signer, engine: engine, clock: clock)
        }
    }
}
