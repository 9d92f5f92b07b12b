// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import Glibc
import Synchronization

/// The Date header's text, made once a second (RFC 9110, 5.6.7).
final class DateLine: Sendable {
    private let cached = Mutex<(second: Int, text: [UInt8])>((0, []))

    func text() -> [UInt8] {
        let second = time(nil)
        return cached.withLock { cached in
            if cached.second != second { cached = (second, DateLine.format(second)) }
            return cached.text
        }
    }

    static func format(_ second: Int) -> [UInt8] {
        var moment = second
        var parts = tm()
        gmtime_r(&moment, &parts)
        let days = ["Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"]
        let months = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"]
        func two(_ value: Int32) -> String { value < 10 ? "0\(value)" : "\(value)" }
        let date = "\(days[Int(parts.tm_wday)]), \(two(parts.tm_mday)) \(months[Int(parts.tm_mon)])"
        let clock = "\(two(parts.tm_hour)):\(two(parts.tm_min)):\(two(parts.tm_sec))"
        return Array("\(date) \(Int(parts.tm_year) + 1900) \(clock) GMT".utf8)
    }
}
