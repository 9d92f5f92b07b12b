// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import Crypto
import Foundation
import QueuePoolAWS
import QueuePoolCore
import QueuePoolEmbedded
import QueuePoolRuntime
import QueuePoolSettings

/// Why a subcommand of `key` did nothing.
enum KeyFailure: Error, Hashable {
    case nameTaken(String)
    case noKey(String)
    case revoked(String)
    case noRandom
    case store(AccessKeyStoreError)

    var commandFailure: CommandFailure {
        switch self {
        case .nameTaken(let name): CommandFailure("'\(name)': another key has this name; allowed: a name of its own")
        case .noKey(let text):
            CommandFailure("'\(text)': no key has this name or id; 'queuepool key list' lists them")
        case .revoked(let text): CommandFailure("'\(text)': the key was revoked, and stays so; create another one")
        case .noRandom: CommandFailure("the system gave no random bytes", status: ExitStatus.failure)
        case .store(.conflict): CommandFailure("the key was changed by somebody else at the same moment; try again")
        case .store(.taken): CommandFailure("another key has this name or id")
        case .store(.noTable):
            CommandFailure("the control store: the table does not exist", status: ExitStatus.unavailable)
        case .store(.failed(let code)): CommandFailure("the control store: \(code)", status: ExitStatus.unavailable)
        }
    }
}

/// Where the keys are.
struct KeyStoreOptions: ParsableArguments {
    @OptionGroup var control: ControlOptions
    @Option(name: .setting(.dataDirectory), help: .setting(.dataDirectory)) var dataDirectory: String?
    @Option(
        name: .setting(.auditLog),
        help: ArgumentHelp(
            "File in which it is written down what was done; unless set, audit.log in the data directory, also where "
                + "--control names the control.sqlite in one. With another control store nothing is written down.",
            valueName: "text"))
    var auditLog: String?

    func validate() throws {
        if control.control != nil, dataDirectory != nil {
            throw ValidationError("--data-dir: given with --control; allowed: one of the two")
        }
    }

    /// Opens the store and uses it on a thread of its own, because its calls block.
    /// - Parameters:
    ///   - makesStore: makes what is missing, as a first start of the server would.
    ///   - audited: what it is called in the audit log, and the id of the key that it was done to; `nil`: it changes none.
    /// - Throws: `ExitCode`, after the failure was written to standard error.
    func use<R: Sendable>(
        makesStore: Bool = false, audited: (operation: String, key: @Sendable (R) -> String)? = nil,
        _ body: @escaping @Sendable (any AccessKeyStore, Timestamp) throws(KeyFailure) -> R
    ) async throws -> R {
        var result: R?
        try await reportingFailures {
            var flags = FlagTexts()
            control.fill(&flags)
            flags.set(.dataDirectory, dataDirectory)
            flags.set(.auditLog, auditLog)
            let place = try await KeyStorePlace(flags: flags, environment: ProcessInfo.processInfo.environment)
            result = try await withCheckedThrowingContinuation { (done: CheckedContinuation<R, any Error>) in
                Thread.detachNewThread {
                    done.resume(
                        with: Result {
                            let clock = SystemClock()
                            let store = try place.open(makesStore: makesStore, clock: clock)
                            let audit = audited.flatMap { place.audit($0.operation, clock: clock) }
                            try audit?.begin()
                            do throws(KeyFailure) {
                                let result = try body(store, clock.now())
                                audit?.end(.done, key: audited?.key(result))
                                return result
                            } catch {
                                audit?.end(.failed(status: Int(error.commandFailure.status)), key: nil)
                                throw error.commandFailure
                            }
                        })
                }
            }
        }
        guard let result else { throw ExitCode(ExitStatus.failure) }
        return result
    }
}

/// What the settings say of the store.
private struct KeyStorePlace: Sendable {
    let settings: ControlSettings
    /// Which `serve` would make; `nil` if a control store is named, so that there is none.
    let directory: String?
    /// `nil`: it is not known where.
    let auditLog: String?

    func audit(_ operation: String, clock: any Clock) -> KeyAudit? {
        auditLog.map { KeyAudit(file: $0, operation: operation, clock: clock) }
    }

    init(flags: FlagTexts, environment: [String: String]) async throws {
        (settings, directory, auditLog) = try await ControlSettings.inDirectory(
            flags: flags.byKey, environment: environment)
    }

    func open(makesStore: Bool, clock: any Clock) throws -> any AccessKeyStore {
        switch settings.address {
        case .sqlite(let file):
            if makesStore {
                try makeDirectory()
            } else if !FileManager.default.fileExists(atPath: file) {
                throw CommandFailure(
                    "the control store \(file) does not exist; 'queuepool key create' makes it",
                    status: ExitStatus.noInput)
            }
            do throws(ControlStoreError) { return SQLiteAccessKeyStore(try SQLiteControlStore(path: file)) } catch {
                throw CommandFailure(
                    "the control store \(file) cannot be opened: \(describe(error))", status: ExitStatus.inputOutput)
            }
        case .dynamoDB(let name):
            let table = try dynamoDBTable(name, try AWSAccess(settings, clock: clock))
            if makesStore {
                do throws(ControlStoreError) {
                    try DynamoDBControlStore(table: table).makeTable { clock.block(milliseconds: 1_000) }
                } catch {
                    throw CommandFailure("the control store: \(describe(error))", status: ExitStatus.unavailable)
                }
            }
            return DynamoDBAccessKeyStore(table: table)
        }
    }

    /// Takes no lock: a server may be at work in it.
    private func makeDirectory() throws {
        guard let directory, mkdir(directory, PrivateFile.directoryMode) != 0 else { return }
        let code = errno
        guard code != EEXIST else { return }
        throw CommandFailure(
            "the data directory \(directory) cannot be made: \(systemMessage(code))", status: ExitStatus.inputOutput)
    }
}

/// Changes a key by its name or id, and says how it is then.
func change(
    _ text: String, in store: any AccessKeyStore, _ body: (inout AccessKey) throws(KeyFailure) -> Void
) throws(KeyFailure) -> AccessKey {
    let keys: [AccessKey]
    do throws(AccessKeyStoreError) { keys = try store.keys() } catch { throw .store(error) }
    // No name looks like an id.
    guard var key = keys.first(where: { $0.name == text || $0.id == text }) else { throw .noKey(text) }
    try body(&key)
    do throws(AccessKeyStoreError) { key.revision = try store.replace(key, ifRevision: key.revision) } catch {
        throw .store(error)
    }
    return key
}

/// New texts, and the hash of the token among them.
func newCredentials() throws(KeyFailure) -> (AccessCredentials, tokenHash: [UInt8]) {
    guard let made = AccessCredentials(random: randomBytes(AccessCredentials.randomBytes)) else { throw .noRandom }
    return (made, Array(SHA256.hash(data: Array(made.token.utf8))))
}

/// Bytes of the system's source of secrets.
func randomBytes(_ count: Int) -> [UInt8] {
    var random = SystemRandomNumberGenerator()
    return (0..<count).map { _ in UInt8.random(in: .min ... .max, using: &random) }
}
