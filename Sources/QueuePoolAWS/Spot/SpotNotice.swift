// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

package import QueuePoolCore
import QueuePoolCurl

// A spot instance of EC2 is told two minutes before it is taken away. Source: "Spot Instance interruption notices", EC2
// User Guide: `spot/instance-action` answers 404 until then, and should be asked every five seconds.

/// Asks the instance's metadata service whether the instance will be taken away.
package struct SpotNotice: Sendable {
    package static let intervalMilliseconds: Int64 = 5_000
    private static let timeoutMilliseconds = 2_000
    private static let tokenSeconds = 21_600

    private let surroundings: AWSSurroundings
    private let clock: any Clock
    private let base: String

    /// - Returns: `nil` on a machine that is no instance of EC2, or whose metadata service is not to be used. An address of
    ///   the service's that is set counts as an instance.
    package init?(_ surroundings: AWSSurroundings, clock: any Clock) {
        if surroundings.text("AWS_EC2_METADATA_DISABLED")?.lowercased() == "true" { return nil }
        let given = surroundings.text("AWS_EC2_METADATA_SERVICE_ENDPOINT")
        guard given != nil || SpotNotice.isInstance(surroundings) else { return nil }
        var base = given ?? "http://169.254.169.254"
        while base.hasSuffix("/") { base.removeLast() }
        self.base = base
        self.surroundings = surroundings
        self.clock = clock
    }

    /// Source: "Identify EC2 instances", EC2 User Guide.
    private static func isInstance(_ surroundings: AWSSurroundings) -> Bool {
        surroundings.file("/sys/class/dmi/id/sys_vendor")?.hasPrefix("Amazon EC2") == true
    }

    /// Waits until the notice comes, or the task is cancelled.
    /// - Returns: whether it came.
    package func wait() async -> Bool {
        var token: String?
        while !Task.isCancelled {
            if token == nil { token = await newToken() }
            if let known = token {
                switch await ask(known) {
                case 200: return true
                // It is over, or the instance was started anew.
                case 401, 403: token = nil
                default: break
                }
            }
            await clock.sleep(milliseconds: SpotNotice.intervalMilliseconds)
        }
        return false
    }

    private func newToken() async -> String? {
        let request = HTTPRequest(
            method: "PUT", url: base + "/latest/api/token",
            headers: [("X-aws-ec2-metadata-token-ttl-seconds", "\(SpotNotice.tokenSeconds)")],
            timeoutMilliseconds: SpotNotice.timeoutMilliseconds, answerBytesMax: 4_096)
        guard let response = try? await surroundings.perform(request), response.status == 200 else { return nil }
        let text = String(decoding: response.body, as: UTF8.self)
        return String(text.filter { $0.isASCII && !$0.isWhitespace })
    }

    /// - Returns: the answer's status; `nil` if there was no answer.
    private func ask(_ token: String) async -> Int? {
        let request = HTTPRequest(
            method: "GET", url: base + "/latest/meta-data/spot/instance-action",
            headers: [("X-aws-ec2-metadata-token", token)], timeoutMilliseconds: SpotNotice.timeoutMilliseconds,
            answerBytesMax: 4_096)
        return try? await surroundings.perform(request).status
    }
}
