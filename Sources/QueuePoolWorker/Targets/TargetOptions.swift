// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import Glibc
import QueuePoolCore
import QueuePoolCurl

// `URL#OPTION[&OPTION]`: what the worker itself is to know of a target stands in the URL's fragment, which no client sends,
// so that the path and the whole query stay the receiver's. Errors name options and what is allowed, never what was given:
// a password may stand anywhere in a text that is not understood.

/// A target's URL, and what the worker is to know of it.
struct TargetOptions: Hashable, Sendable {
    private static let concurrencies = 1...10_000
    private static let rates = 0.001...1_000_000
    private static let timeouts = 1...3_600
    private static let secretOption: Substring = "webhook-secret-file"
    static let allowed = "#concurrency=1...10000&rate=0.001...1000000&timeout=1...3600"

    /// Without the fragment.
    let url: String
    private(set) var limits = TargetLimits()
    /// One delivery's; `nil`: what the kind of target has.
    private(set) var timeoutSeconds: Int?
    /// Files of the secrets that requests to a webhook are signed with.
    private(set) var secretFiles: [String] = []

    /// `exec:` and `stdout:` have no options: what follows is the command's.
    init(_ text: String) throws(DeliveryURLError) {
        guard let start = TargetOptions.fragmentStart(text) else {
            url = text
            return
        }
        url = String(text[..<start])
        let scheme = url.prefix { $0 != ":" }.lowercased()
        for part in text[start...].dropFirst().split(separator: "#", omittingEmptySubsequences: false) {
            // A path may have any character but #.
            if part.hasPrefix(TargetOptions.secretOption + "=") {
                guard scheme == "http" || scheme == "https" else {
                    throw .option("webhook-secret-file is an option of webhooks, http://... and https://...")
                }
                secretFiles.append(String(part.dropFirst(TargetOptions.secretOption.count + 1)))
            } else {
                for option in part.split(separator: "&", omittingEmptySubsequences: false) { try read(option) }
            }
        }
    }

    private mutating func read(_ option: Substring) throws(DeliveryURLError) {
        let pair = option.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
        let value = pair.count == 2 ? String(pair[1]) : ""
        switch pair[0] {
        case "concurrency":
            guard limits.concurrency == nil else { throw .option("A target's concurrency is given once") }
            guard let number = TargetOptions.whole(value), TargetOptions.concurrencies.contains(number) else {
                throw .option("A target's concurrency is a whole number, the deliveries under way, 1...10000")
            }
            limits.concurrency = number
        case "rate":
            guard limits.ratePerSecond == nil else { throw .option("A target's rate is given once") }
            guard let number = TargetOptions.decimal(value), TargetOptions.rates.contains(number) else {
                throw .option("A target's rate is a decimal number, messages a second, 0.001...1000000")
            }
            limits.ratePerSecond = number
        case "timeout":
            guard timeoutSeconds == nil else { throw .option("A target's timeout is given once") }
            guard let number = TargetOptions.whole(value), TargetOptions.timeouts.contains(number) else {
                throw .option("A target's timeout is a whole number, the seconds of one delivery, 1...3600")
            }
            timeoutSeconds = number
        default: throw .option("An option behind the # of a target is not known")
        }
    }

    /// Where the fragment begins, or would: a mail server's URL may have a # in its password, which ends with the last @.
    static func fragmentStart(_ text: String) -> String.Index? {
        let scheme = text.prefix { $0 != ":" }.lowercased()
        switch scheme {
        case "exec", "stdout": return nil
        case "smtp", "smtps":
            let end = text.lastIndex(of: "@") ?? text.startIndex
            return text[end...].firstIndex(of: "#")
        default: return text.firstIndex(of: "#")
        }
    }

    private static func whole(_ text: String) -> Int? {
        text.utf8.allSatisfy { (48...57).contains($0) } ? Int(text) : nil
    }

    /// Digits with one point between them, or none.
    private static func decimal(_ text: String) -> Double? {
        let parts = text.split(separator: ".", omittingEmptySubsequences: false)
        guard parts.count <= 2, parts.allSatisfy({ !$0.isEmpty && $0.utf8.allSatisfy { (48...57).contains($0) } })
        else { return nil }
        return Double(text)
    }
}

extension TargetOptions {
    /// What a request to the target may take; half a minute unless given.
    var requestMilliseconds: Int { (timeoutSeconds ?? 30) * 1_000 }

    /// How long a mail server may keep silent, and take in all but for a mail's bytes: RFC 5321's unless given.
    var mailLimits: MailLimits {
        var limits = MailLimits()
        guard let timeoutSeconds else { return limits }
        let milliseconds = Int64(timeoutSeconds) * 1_000
        limits.command = min(limits.command, milliseconds)
        limits.dataStart = min(limits.dataStart, milliseconds)
        limits.dataEnd = min(limits.dataEnd, milliseconds)
        limits.total = milliseconds
        return limits
    }

    /// Deliveries that may be under way.
    /// - Parameter most: of the worker.
    func concurrency(atMost most: Int) -> Int { min(most, limits.concurrency ?? most) }
}

extension DeliveryURL {
    /// What a target may be asked for at most.
    static func limits(_ text: String) throws(DeliveryURLError) -> TargetLimits { try TargetOptions(text).limits }
}
