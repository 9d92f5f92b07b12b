// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

// Dates as AWS writes and reads them, by integer arithmetic: signing is on the way of every request, and a calendar
// library costs more than the signature. Days to dates and back after Howard Hinnant, "chrono-compatible low-level date
// algorithms" (2013).

/// Wall-clock seconds since 1970 as text, and back.
package enum WallTime {
    /// `20150830T123600Z`
    package static func basic(_ seconds: Int64) -> String {
        let day = floorDivide(seconds, 86_400)
        let second = seconds - day * 86_400
        let (year, month, dayOfMonth) = civil(day)
        var out: [UInt8] = []
        out.reserveCapacity(16)
        put(year, 4, &out)
        put(month, 2, &out)
        put(dayOfMonth, 2, &out)
        out.append(UInt8(ascii: "T"))
        put(second / 3_600, 2, &out)
        put(second / 60 % 60, 2, &out)
        put(second % 60, 2, &out)
        out.append(UInt8(ascii: "Z"))
        return String(decoding: out, as: UTF8.self)
    }

    /// Seconds of `20150830T123600Z`; `nil` for anything else.
    package static func parseBasic(_ text: ArraySlice<UInt8>) -> Int64? {
        let at = text.startIndex
        guard text.count == 16, text[at + 8] == UInt8(ascii: "T"), text[at + 15] == UInt8(ascii: "Z"),
            let day = parseBasicDay(text[at..<(at + 8)]), let hour = number(text[(at + 9)..<(at + 11)]),
            let minute = number(text[(at + 11)..<(at + 13)]), let second = number(text[(at + 13)..<(at + 15)]),
            hour < 24, minute < 60, second < 60
        else { return nil }
        return day * 86_400 + hour * 3_600 + minute * 60 + second
    }

    /// Days since 1970 of `20150830`; `nil` for anything else, a day that no calendar has among them.
    package static func parseBasicDay(_ text: ArraySlice<UInt8>) -> Int64? {
        let at = text.startIndex
        guard text.count == 8, let year = number(text[at..<(at + 4)]), let month = number(text[(at + 4)..<(at + 6)]),
            let day = number(text[(at + 6)..<(at + 8)]), (1...12).contains(month), (1...31).contains(day)
        else { return nil }
        let result = days(year, month, day)
        return civil(result) == (year, month, day) ? result : nil
    }

    /// Seconds of `2015-08-30T12:36:00Z`, a fraction and an offset of zero allowed; `nil` for anything else.
    package static func parseISO8601(_ text: String) -> Int64? {
        let bytes = Array(text.utf8)
        guard bytes.count >= 20, bytes[4] == UInt8(ascii: "-"), bytes[7] == UInt8(ascii: "-"),
            bytes[10] == UInt8(ascii: "T"), bytes[13] == UInt8(ascii: ":"), bytes[16] == UInt8(ascii: ":"),
            let year = number(bytes[0..<4]), let month = number(bytes[5..<7]), let day = number(bytes[8..<10])
        else { return nil }
        var end = bytes[19...]
        if end.first == UInt8(ascii: ".") { end = end.dropFirst().drop { (48...57).contains($0) } }
        guard end.elementsEqual("Z".utf8) || end.elementsEqual("+00:00".utf8) else { return nil }
        return seconds(year, month, day, bytes[11..<19])
    }

    /// Seconds of a `Date` header, `Sun, 06 Nov 1994 08:49:37 GMT` (RFC 9110, 5.6.7); `nil` for anything else.
    package static func parseHTTPDate(_ text: String) -> Int64? {
        let parts = text.split(separator: " ")
        guard parts.count == 6, parts[5] == "GMT", let month = months.firstIndex(of: String(parts[2])),
            let day = number(Array(parts[1].utf8)[...]), let year = number(Array(parts[3].utf8)[...])
        else { return nil }
        return seconds(year, Int64(month) + 1, day, Array(parts[4].utf8)[...])
    }

    private static let months = [
        "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
    ]

    /// - Parameter time: `HH:MM:SS`
    private static func seconds(_ year: Int64, _ month: Int64, _ day: Int64, _ time: ArraySlice<UInt8>) -> Int64? {
        let at = time.startIndex
        guard time.count == 8, time[at + 2] == UInt8(ascii: ":"), time[at + 5] == UInt8(ascii: ":"),
            let hour = number(time[at..<(at + 2)]), let minute = number(time[(at + 3)..<(at + 5)]),
            let second = number(time[(at + 6)..<(at + 8)]), (1...12).contains(month), (1...31).contains(day),
            hour < 24, minute < 60, second <= 60
        else { return nil }
        return days(year, month, day) * 86_400 + hour * 3_600 + minute * 60 + second
    }

    private static func number(_ digits: ArraySlice<UInt8>) -> Int64? {
        guard (1...4).contains(digits.count), digits.allSatisfy({ (48...57).contains($0) }) else { return nil }
        return digits.reduce(0) { $0 * 10 + Int64($1 - 48) }
    }

    private static func put(_ value: Int64, _ width: Int, _ out: inout [UInt8]) {
        var divisor: Int64 = 1
        for _ in 1..<width { divisor *= 10 }
        while divisor > 0 {
            out.append(48 + UInt8(value / divisor % 10))
            divisor /= 10
        }
    }

    private static func floorDivide(_ a: Int64, _ b: Int64) -> Int64 { a >= 0 ? a / b : (a - b + 1) / b }

    private static func civil(_ day: Int64) -> (year: Int64, month: Int64, day: Int64) {
        let shifted = day + 719_468
        let era = floorDivide(shifted, 146_097)
        let dayOfEra = shifted - era * 146_097
        let yearOfEra = (dayOfEra - dayOfEra / 1_460 + dayOfEra / 36_524 - dayOfEra / 146_096) / 365
        let dayOfYear = dayOfEra - (365 * yearOfEra + yearOfEra / 4 - yearOfEra / 100)
        let shiftedMonth = (5 * dayOfYear + 2) / 153
        let month = shiftedMonth < 10 ? shiftedMonth + 3 : shiftedMonth - 9
        return (yearOfEra + era * 400 + (month <= 2 ? 1 : 0), month, dayOfYear - (153 * shiftedMonth + 2) / 5 + 1)
    }

    private static func days(_ year: Int64, _ month: Int64, _ day: Int64) -> Int64 {
        let shifted = month <= 2 ? year - 1 : year
        let era = floorDivide(shifted, 400)
        let yearOfEra = shifted - era * 400
        let dayOfYear = (153 * (month > 2 ? month - 3 : month + 9) + 2) / 5 + day - 1
        return era * 146_097 + yearOfEra * 365 + yearOfEra / 4 - yearOfEra / 100 + dayOfYear - 719_468
    }
}
