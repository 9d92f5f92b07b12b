// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import Glibc

/// CPU and memory of a process, read from `/proc`. CPU comes in clock ticks, usually 10 ms.
struct ProcessUsage: Hashable, Sendable {
    /// User and system time together.
    var cpuNanoseconds: UInt64
    var residentBytes: Int

    init(cpuNanoseconds: UInt64, residentBytes: Int) {
        self.cpuNanoseconds = cpuNanoseconds
        self.residentBytes = residentBytes
    }

    /// Several processes together; `nil` when there are none, or one is gone or not visible.
    init?(sumOf parts: [ProcessUsage?]) {
        let seen = parts.compactMap(\.self)
        guard !seen.isEmpty, seen.count == parts.count else { return nil }
        self.init(
            cpuNanoseconds: seen.reduce(0) { $0 + $1.cpuNanoseconds },
            residentBytes: seen.reduce(0) { $0 + $1.residentBytes })
    }

    /// `nil` when the process is gone or not visible.
    init?(pid: Int) {
        guard let stat = SmallFile.read("/proc/\(pid)/stat"), let memory = SmallFile.read("/proc/\(pid)/statm") else {
            return nil
        }
        self.init(stat: stat, statm: memory)
    }

    /// CPU used since an earlier look; `nil` without one.
    func cpuNanoseconds(since start: ProcessUsage?) -> UInt64? {
        start.map { cpuNanoseconds - min($0.cpuNanoseconds, cpuNanoseconds) }
    }

    /// - Parameters: the texts of `/proc/PID/stat` and `/proc/PID/statm` (proc(5)).
    init?(stat: String, statm: String) {
        // The second field is the program's name in parentheses and may hold blanks; count from behind it.
        guard let name = stat.lastIndex(of: ")") else { return nil }
        let fields = stat[stat.index(after: name)...].split(separator: " ")
        let pages = statm.split(separator: " ")
        guard fields.count > 12, pages.count > 1, let user = UInt64(fields[11]), let system = UInt64(fields[12]),
            let resident = Int(pages[1])
        else { return nil }
        let ticksPerSecond = UInt64(max(1, sysconf(Int32(_SC_CLK_TCK))))
        cpuNanoseconds = (user + system) * (1_000_000_000 / ticksPerSecond)
        residentBytes = resident * max(1, sysconf(Int32(_SC_PAGESIZE)))
    }
}

enum MachineUsage {
    /// Nanoseconds that all processors together were busy with anything since the machine started, other programs and
    /// guests' time taken by the host too; `nil` where `/proc/stat` cannot be read.
    static func busyNanoseconds() -> UInt64? { SmallFile.read("/proc/stat").flatMap(busyNanoseconds) }

    /// - Parameter stat: the text of `/proc/stat` (proc(5)): user nice system idle iowait irq softirq steal.
    static func busyNanoseconds(stat: String) -> UInt64? {
        let fields = stat.prefix { $0 != "\n" }.split(separator: " ")
        guard fields.first == "cpu", fields.count > 8 else { return nil }
        let ticks = fields[1...8].compactMap { UInt64($0) }
        guard ticks.count == 8 else { return nil }
        let busy = ticks.reduce(0, +) - ticks[3] - ticks[4]
        return busy * (1_000_000_000 / UInt64(max(1, sysconf(Int32(_SC_CLK_TCK)))))
    }
}

enum SmallFile {
    /// The text of a file of at most 64 KiB; `nil` if it cannot be read.
    static func read(_ path: String) -> String? {
        let descriptor = open(path, O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else { return nil }
        defer { close(descriptor) }
        var bytes = [UInt8](repeating: 0, count: 65_536)
        var filled = 0
        while filled < bytes.count {
            let count = bytes.withUnsafeMutableBytes { raw in
                Glibc.read(descriptor, raw.baseAddress.map { $0 + filled }, raw.count - filled)
            }
            guard count > 0 else { break }
            filled += count
        }
        return String(decoding: bytes[0..<filled], as: UTF8.self)
    }

    /// Writes a whole file.
    static func write(_ text: String, to path: String) throws {
        let descriptor = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0o644)
        guard descriptor >= 0 else { throw SocketError(call: "open the JSON file", code: errno) }
        defer { close(descriptor) }
        let bytes = Array(text.utf8)
        guard Glibc.write(descriptor, bytes, bytes.count) == bytes.count else {
            throw SocketError(call: "write the JSON file", code: errno)
        }
    }
}
