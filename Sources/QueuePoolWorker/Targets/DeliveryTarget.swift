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
    /// Whether the text names a target, but an option of it, or a file that it names, is wrong.
    package let concernsSetting: Bool

    static func file(_ why: String) -> DeliveryURLError {
        DeliveryURLError(description: why, concernsSetting: true)
    }

    static func option(_ why: String) -> DeliveryURLError {
        DeliveryURLError(
            description: why + "; allowed behind a target are " + TargetOptions.allowed
                + ", each once, and #webhook-secret-file=PATH of webhooks; none of exec: and stdout:",
            concernsSetting: true)
    }

    static func refused(_ why: String) -> DeliveryURLError {
        DeliveryURLError(
            description: why
                + "; allowed are stdout:, exec:CMD, http(s)://..., lambda+http(s)://..., and "
                + "smtp(s)://[USER@]HOST:PORT[?OPTION[&OPTION]] with the options tls=off (smtp only), "
                + "password-file=PATH or password-env=NAME, and dkim-domain=DOMAIN with dkim-selector=NAME and "
                + "dkim-key-file=PATH for each key, and the email services ses:REGION, sendgrid:, mailgun:DOMAIN, "
                + "postmark: and resend: with ?key-file=PATH or ?key-env=NAME (not ses:) and their options, "
                + "each but stdout: and exec: with " + TargetOptions.allowed,
            concernsSetting: false)
    }
}

package enum DeliveryURL {
    /// Whether one of these targets wants to know how a message was sent.
    static func wantSending(_ targets: [String]) -> Bool {
        targets.contains { $0.lowercased().hasPrefix("lambda+") }
    }

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
        let options = try TargetOptions(text)
        let rest = String(options.url[options.url.index(after: colon)...])
        let concurrency = options.concurrency(atMost: concurrency)
        switch scheme {
        case "stdout":
            guard rest.isEmpty else { throw .refused("stdout: takes nothing after the colon") }
            return StandardOutputTarget()
        case "exec":
            guard !rest.isEmpty else { throw .refused("exec: needs a command") }
            return CommandTarget(command: rest, clock: clock)
        case "http", "https":
            guard rest.hasPrefix("//"), rest.count > 2 else { throw .refused("\(scheme): needs a host") }
            return WebhookTarget(
                url: options.url, secrets: try WebhookSecrets(files: options.secretFiles),
                timeoutMilliseconds: options.requestMilliseconds, engine: engine, clock: clock)
        case "lambda+http", "lambda+https":
            guard rest.hasPrefix("//"), rest.count > 2 else { throw .refused("\(scheme): needs a host") }
            return LambdaTarget(
                url: String(options.url.dropFirst("lambda+".count)), engine: engine, concurrency: concurrency,
                timeoutMilliseconds: options.requestMilliseconds, clock: clock)
        case "smtp", "smtps":
            let url = try MailURL(scheme: scheme, rest)
            return MailTarget(
                url: "\(scheme)://\(url.authority)", user: url.user, password: try url.readPassword(),
                requiresTLS: url.requiresTLS, signer: try url.readSigner(),
                engine: MailEngine(
                    threadsMax: concurrency, limits: options.mailLimits, now: { clock.now().milliseconds }))
        case let scheme:
            guard let provider = EmailProvider.of(scheme) else {
                throw .refused("The scheme of a delivery target is not known")
            }
            return try ProviderTarget(
                provider, url: ProviderURL(provider, rest), signer: signer,
                timeoutMilliseconds: options.requestMilliseconds, engine: engine, clock: clock)
        }
    }
}
