// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import Glibc
import QueuePoolSettings

/// Why a command ends without success. Numbers are those of sysexits.h.
enum ExitStatus {
    static let failure: Int32 = 1
    static let usage: Int32 = 64
    /// A file given as input is not there or cannot be read.
    static let noInput: Int32 = 66
    /// The server does not answer.
    static let unavailable: Int32 = 69
    static let inputOutput: Int32 = 74
    /// The server knows who asks, and he may not do this.
    static let noPermission: Int32 = 77
    static let configuration: Int32 = 78
    /// Ended by Ctrl-C, as a shell reports it.
    static let interrupted: Int32 = 130
}

/// A failure with its message and exit status.
struct CommandFailure: Error, Hashable, CustomStringConvertible {
    let description: String
    let status: Int32

    init(_ description: String, status: Int32 = ExitStatus.failure) {
        self.description = description
        self.status = status
    }

    /// What is wrong with a file that a setting names; nothing of what is in it.
    init(_ setting: Setting, file path: String, _ wrong: String) {
        self.init(
            "setting '\(setting.key)': the file '\(SettingError.printable(path, scalarsMax: 1_024))' \(wrong); allowed: "
                + setting.allowed, status: ExitStatus.configuration)
    }
}

/// Runs the body of a command; a failure is written to standard error and becomes the exit status.
func reportingFailures(_ body: () async throws -> Void) async throws {
    do {
        try await body()
    } catch let errors as SettingErrors {
        for error in errors.errors { writeToStandardError("queuepool: " + error.description + "\n") }
        throw ExitCode(errors.exitCode)
    } catch let failure as CommandFailure {
        writeToStandardError("queuepool: " + failure.description + "\n")
        throw ExitCode(failure.status)
    }
}

/// Writes a text at once. What cannot be written is dropped: there is nowhere left to say so.
func writeToStandardError(_ text: String) {
    var text = text
    text.withUTF8 { _ = Glibc.write(STDERR_FILENO, $0.baseAddress, $0.count) }
}

/// What the system says of an error number.
func systemMessage(_ code: Int32) -> String { String(cString: strerror(code)) }
