// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import Foundation
import Synchronization

// moto, which nobody here wrote, stands for Amazon's services. Either somebody runs it already and says where, or it is
// started for the tests of this process and ended with it. A machine that has none must say that it goes without:
// a suite that is left out in silence holds nothing.

/// Where moto answers.
enum Moto {
    /// Names the base URL of one that runs already.
    static let endpointVariable = "QUEUEPOOL_MOTO"
    /// Set to 1, what needs moto is left out.
    static let withoutVariable = "QUEUEPOOL_WITHOUT_MOTO"

    struct Missing: Error, CustomStringConvertible {
        let reason: String
        var description: String {
            "moto stands for DynamoDB in this suite, and \(reason). Set \(endpointVariable) to the URL of one that runs, "
                + "install Tests/Outside/requirements.txt in .build/venv, or leave it out by \(withoutVariable)=1."
        }
    }

    static var isLeftOut: Bool { ProcessInfo.processInfo.environment[withoutVariable] == "1" }

    /// The base URL, without a slash at its end. Blocks until it answers, the first time.
    static func endpoint() throws -> String { try shared.get() }

    private static let shared = Result { () throws(Missing) in
        if let url = ProcessInfo.processInfo.environment[endpointVariable], !url.isEmpty { return url }
        return try start()
    }

    /// Where `infra/test` puts the clients of the tests from outside.
    private static var program: String {
        URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
            .deletingLastPathComponent().deletingLastPathComponent().path + "/.build/venv/bin/moto_server"
    }

    private static func start() throws(Missing) -> String {
        guard FileManager.default.isExecutableFile(atPath: program) else {
            throw Missing(reason: "there is no \(program)")
        }
        let found = Mutex<String?>(nil)
        let answer = DispatchSemaphore(value: 0)
        // The kernel ends the child when the thread that started it does, so that thread stays until the process goes,
        // and reads what the child says, so that it never stands still before a full pipe.
        Thread.detachNewThread {
            run { line in
                guard let start = line.range(of: "Running on http://127.0.0.1:") else { return }
                let port = line[start.upperBound...].prefix { $0.isASCII && $0.isNumber }
                found.withLock { $0 = "http://127.0.0.1:\(port)" }
                answer.signal()
            }
            answer.signal()
        }
        answer.wait()
        guard let url = found.withLock({ $0 }) else { throw Missing(reason: "\(program) ended at once") }
        return url
    }

    /// Runs moto on a port of its own choosing until it ends.
    /// - Parameter said: called for each line that it writes.
    private static func run(_ said: (String) -> Void) {
        let process = Process()
        let pipe = Pipe()
        process.executableURL = URL(fileURLWithPath: "/usr/bin/env")
        process.arguments = ["setpriv", "--pdeathsig", "KILL", program, "-H", "127.0.0.1", "-p", "0"]
        process.standardInput = FileHandle.nullDevice
        process.standardOutput = FileHandle.nullDevice
        process.standardError = pipe
        guard (try? process.run()) != nil else { return }
        var text = Data()
        while case let more = pipe.fileHandleForReading.availableData, !more.isEmpty {
            text += more
            while let end = text.firstIndex(of: UInt8(ascii: "\n")) {
                said(String(decoding: text[..<end], as: UTF8.self))
                text.removeSubrange(...end)
            }
        }
        process.waitUntilExit()
    }
}
