// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import Logging
import QueuePoolCore
import QueuePoolSealing
import QueuePoolSettings

/// Where the master key is, which may be looked up again, and the data keys of the data directory.
struct MasterKeySource: Sendable {
    private static let bytesMax = 4_096

    private let settings: SealingSettings
    private let directory: String
    private let control: ControlSettings
    private let clock: any Clock
    private let logger: Logger
    /// The key of AWS KMS, if the settings name one.
    private let service: KMSKey?

    /// - Parameter control: how AWS is reached.
    /// - Throws: `CommandFailure` if a key of AWS KMS is named and the service has no address.
    init(
        _ settings: SealingSettings, directory: String, control: ControlSettings, clock: any Clock, logger: Logger
    ) throws {
        self.settings = settings
        self.directory = directory
        self.control = control
        self.clock = clock
        self.logger = logger
        if case .kms(let key) = settings.master {
            service = try KMSKey(key, of: .masterKeyKMS, control, clock: clock)
        } else {
            service = nil
        }
    }

    /// Whether another key may come while the server runs.
    var mayChange: Bool {
        switch settings.master {
        case .file, .kms: true
        case .text: false
        }
    }

    /// Opens the data keys; no other server may use the directory. It blocks.
    /// - Throws: `CommandFailure` that shows nothing of a key; then nothing was changed.
    func open() throws -> DataKeys {
        let master = try master()
        let old = try settings.old.flatMap { try oldKey($0) }
        do throws(DataKeysError) {
            return try DataKeys(directory: directory, master: master, old: old) { [self] error in
                logger.error(
                    "A new file has no data key", metadata: ["error": "\(failure(error, directory))"])
            }
        } catch { throw failure(error, directory) }
    }

    /// Wraps the data keys with the master key of now. It blocks.
    /// - Throws: as `open()` does; the data keys are then wrapped as before, or, if their file could not be flushed, by
    ///   the key that they say, until a loss of power.
    func reload(_ keys: DataKeys) throws {
        let master = try master()
        do throws(DataKeysError) { try keys.rewrap(with: master) } catch { throw failure(error, directory) }
    }

    /// Refuses a directory that needs a master key, where none is given.
    static func refuseSealed(_ directory: String) throws {
        let id: String?
        do throws(DataKeysError) { id = try DataKeys.masterKeyID(of: directory) } catch {
            throw fileFailure(error, directory)
        }
        guard let id else { return }
        let flag = (id.hasPrefix("arn:") ? Setting.masterKeyKMS : .masterKeyFile).flag
        throw CommandFailure(
            "the messages in \(printable(directory)) are sealed: --\(flag) must give the master key \(printable(id))",
            status: ExitStatus.configuration)
    }

    // MARK: - Looking up

    private var name: String {
        switch settings.master {
        case .file(let path): MasterKeySource.printable(path)
        case .text: "of \(Setting.masterKey.environment)"
        case .kms(let key): key.text
        }
    }

    private func master() throws -> any KeyWrapping {
        switch settings.master {
        case .file(let path): return try key(in: path, of: .masterKeyFile)
        case .text(let hidden):
            guard let key = MasterKey(text: hidden.text) else {
                throw CommandFailure(
                    "setting '\(Setting.masterKey.key)' (environment \(Setting.masterKey.environment)) is no key; allowed: "
                        + Setting.masterKey.allowed, status: ExitStatus.configuration)
            }
            return key
        case .kms(let key):
            let service = try service ?? KMSKey(key, of: .masterKeyKMS, control, clock: clock)
            do throws(KeyWrappingFault) { return try KMSMasterKey(service) } catch {
                throw MasterKeySource.failure(error, .masterKeyKMS, key)
            }
        }
    }

    private func oldKey(_ old: SealingSettings.Source) throws -> (any KeyUnwrapping)? {
        switch old {
        case .file(let path): try key(in: path, of: .oldMasterKeyFile)
        case .kms(let key): try KMSKey(key, of: .oldMasterKeyKMS, control, clock: clock)
        case .text: nil
        }
    }

    private func key(in path: String, of setting: Setting) throws -> MasterKey {
        let file = SecretFile(setting: setting, path: path)
        guard let key = MasterKey(text: try file.read(bytesMax: MasterKeySource.bytesMax)) else {
            throw file.wrong("has no key")
        }
        return key
    }

    /// What a person is told of it.
    func failure(_ error: DataKeysError, _ directory: String) -> CommandFailure {
        switch error {
        case .wrongKey(let id):
            return CommandFailure(
                "the master key \(name) does not open the data keys of \(MasterKeySource.printable(directory)): it was "
                    + "\(MasterKeySource.printable(id)) that sealed them", status: ExitStatus.configuration)
        case .masterKey(let fault, let isOld):
            guard case .kms(let key)? = isOld ? settings.old : settings.master else {
                return CommandFailure(
                    "the master key \(name) cannot be used: \(fault)", status: ExitStatus.configuration)
            }
            return MasterKeySource.failure(fault, isOld ? .oldMasterKeyKMS : .masterKeyKMS, key)
        case .unflushed(let code):
            let file = "\(MasterKeySource.printable(directory))/\(DataKeys.fileName)"
            return CommandFailure(
                "the data keys in \(file) were written anew, and a loss of power may bring back what was there before "
                    + "(\(systemMessage(code))): keep both master keys, and start with the old one as --\(oldFlag)",
                status: ExitStatus.inputOutput)
        case .damaged, .system: return MasterKeySource.fileFailure(error, directory)
        }
    }

    /// The flag that names the old key: the one that was given, else that of the same kind as the key of now, which at
    /// SIGHUP took the place of one of its kind.
    private var oldFlag: String {
        switch settings.old ?? settings.master {
        case .file, .text: Setting.oldMasterKeyFile.flag
        case .kms: Setting.oldMasterKeyKMS.flag
        }
    }

    /// What a service that has a key did not do.
    private static func failure(_ fault: KeyWrappingFault, _ setting: Setting, _ key: KMSKeyName) -> CommandFailure {
        let subject = "setting '\(setting.key)': the key '\(key.text)' of AWS KMS"
        switch fault {
        case .unavailable(let reason):
            return CommandFailure(
                "\(subject) cannot be reached: \(printable(reason))", status: ExitStatus.unavailable)
        case .refused(let code):
            return CommandFailure(
                "\(subject) is refused: \(printable(code)); allowed: an enabled key for encryption with one secret, whose "
                    + "Encrypt and Decrypt this process may use", status: ExitStatus.configuration)
        case .notOpened, .otherKey:
            return CommandFailure(
                "\(subject) does not open what it encrypted", status: ExitStatus.configuration)
        }
    }

    private static func fileFailure(_ error: DataKeysError, _ directory: String) -> CommandFailure {
        let file = "\(printable(directory))/\(DataKeys.fileName)"
        if case .system(let code) = error {
            return CommandFailure(
                "the data keys in \(file) cannot be read or written: \(systemMessage(code))",
                status: ExitStatus.inputOutput)
        }
        return CommandFailure(
            "the data keys in \(file) are damaged: put back a copy of the file", status: ExitStatus.configuration)
    }

    private static func printable(_ text: String) -> String { SettingError.printable(text, scalarsMax: 1_024) }
}

/// Looks the master key up again while the server runs.
struct MasterKeyReload: Sendable {
    let source: MasterKeySource
    let keys: DataKeys
    let logger: Logger

    func reload() async {
        let before = keys.masterKeyID
        do {
            // It waits for the disk, and for a service that has the key.
            try await onOwnThread { [source, keys] in try source.reload(keys) }
            logger.notice("The data keys are wrapped by the master key", metadata: ["key": "\(keys.masterKeyID)"])
        } catch {
            let outcome = MasterKeyReload.outcome(before: before, after: keys.masterKeyID)
            logger.error("\(outcome)", metadata: ["error": "\(error)"])
        }
    }

    /// What became of the data keys where the master key could not take its place, or not for certain.
    static func outcome(before: String, after: String) -> String {
        before == after
            ? "The data keys stay wrapped as before"
            : "The data keys are wrapped by another master key, and may be by the one before after a loss of power: "
                + "both must be kept"
    }
}
