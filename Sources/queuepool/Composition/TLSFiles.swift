// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import Foundation
import Logging
import QueuePoolServer
import QueuePoolSettings

/// The files of the door's TLS, which may be read again.
struct TLSFiles: Sendable {
    private static let bytesMax = 1 << 20

    private let settings: TLSSettings

    init(_ settings: TLSSettings) { self.settings = settings }

    /// - Throws: `CommandFailure` that names the file that is wrong, and shows nothing of what is in it.
    func open() throws -> TLSDoor {
        let material = try material()
        do throws(TLSFault) {
            return try TLSDoor(material)
        } catch { throw failure(error) }
    }

    /// Gives new connections what the files have now.
    /// - Throws: as `open()` does; the door is then as it was.
    func reload(_ door: TLSDoor) throws {
        let material = try material()
        do throws(TLSFault) {
            try door.replace(material)
        } catch { throw failure(error) }
    }

    private func material() throws -> TLSMaterial {
        let asksClients = settings.clients != .none
        return TLSMaterial(
            certificate: try read(settings.certificate, of: .tlsCertificate), key: try read(settings.key, of: .tlsKey),
            clientCA: asksClients ? try settings.clientCA.map { try read($0, of: .tlsClientCA) } : nil,
            requiresClients: settings.clients == .required)
    }

    private func read(_ path: String, of setting: Setting) throws -> [UInt8] {
        guard let file = FileHandle(forReadingAtPath: path),
            let bytes = try? file.read(upToCount: TLSFiles.bytesMax), !bytes.isEmpty
        else { throw CommandFailure(setting, file: path, "cannot be read, or is empty") }
        return Array(bytes)
    }

    private func failure(_ fault: TLSFault) -> CommandFailure {
        let (certificate, key) = (settings.certificate, settings.key)
        return switch fault {
        case .noCertificate: CommandFailure(.tlsCertificate, file: certificate, "has no certificate in PEM")
        case .noKey: CommandFailure(.tlsKey, file: key, "has no private key in PEM")
        case .encryptedKey:
            CommandFailure(.tlsKey, file: key, "has a key with a passphrase, which nobody would be there to give")
        case .mismatch:
            CommandFailure(.tlsKey, file: key, "has a key that does not fit the certificate in '\(certificate)'")
        case .noClientCA: CommandFailure(.tlsClientCA, file: settings.clientCA ?? "", "has no certificate in PEM")
        }
    }
}

/// Reads the files again while the server runs.
struct TLSReload: Sendable {
    private static let warningSeconds = 14.0 * 86_400

    let files: TLSFiles
    let door: TLSDoor
    let logger: Logger

    /// Clients refuse a certificate from the second on at which it ends: whoever runs the server hears of it before.
    func warnOfEnd() {
        let left = Double(door.endsAt) - Date().timeIntervalSince1970
        guard left < TLSReload.warningSeconds else { return }
        let end = Date(timeIntervalSince1970: Double(door.endsAt)).formatted(.iso8601)
        logger.warning(
            left < 0 ? "The TLS certificate has ended" : "The TLS certificate ends within 14 days",
            metadata: ["end": "\(end)"])
    }

    func reload() async {
        do {
            // A file may be on a disk that hangs, or wait for whoever writes it.
            try await onOwnThread { [files, door] in try files.reload(door) }
            logger.notice("New connections get the TLS files as they are now")
            warnOfEnd()
        } catch {
            logger.error("The TLS files of before stay in use", metadata: ["error": "\(error)"])
        }
    }
}
