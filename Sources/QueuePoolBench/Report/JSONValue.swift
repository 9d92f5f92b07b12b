// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

// JSON for results, in the order the fields are written, so that two results differ where they differ. Foundation is
// left out of the load client; this is all it would be used for.

/// A JSON value with ordered members.
indirect enum JSONValue {
    case null
    case integer(Int)
    case unsigned(UInt64)
    case number(Double)
    /// A number whose sixth decimal place tells something.
    case precise(Double)
    case boolean(Bool)
    case text(String)
    case list([JSONValue])
    case object([(String, JSONValue)])
    /// A value on one line, for the rows of a long list.
    case compact(JSONValue)

    static func optional(_ value: Int?) -> JSONValue { value.map { .integer($0) } ?? .null }
    static func optional(_ value: Double?) -> JSONValue { value.map { .number($0) } ?? .null }
    static func optional(_ value: String?) -> JSONValue { value.map { .text($0) } ?? .null }

    /// Indented by two blanks a level.
    func rendered(indent: String = "") -> String {
        let inner = indent + "  "
        switch self {
        case .null: return "null"
        case .integer(let value): return String(value)
        case .unsigned(let value): return String(value)
        case .number(let value): return value.isFinite ? decimal(value, places: 3) : "null"
        case .precise(let value): return value.isFinite ? decimal(value, places: 6) : "null"
        case .boolean(let value): return value ? "true" : "false"
        case .text(let value): return JSONValue.quoted(value)
        case .list(let values) where values.isEmpty: return "[]"
        case .list(let values):
            let lines = values.map { inner + $0.rendered(indent: inner) }
            return "[\n" + lines.joined(separator: ",\n") + "\n\(indent)]"
        case .object(let members) where members.isEmpty: return "{}"
        case .object(let members):
            let lines = members.map { inner + JSONValue.quoted($0) + ": " + $1.rendered(indent: inner) }
            return "{\n" + lines.joined(separator: ",\n") + "\n\(indent)}"
        case .compact(let value): return value.line
        }
    }

    private var line: String {
        switch self {
        case .list(let values): "[" + values.map(\.line).joined(separator: ", ") + "]"
        case .object(let members):
            "{" + members.map { JSONValue.quoted($0) + ": " + $1.line }.joined(separator: ", ") + "}"
        default: rendered()
        }
    }

    private static func quoted(_ text: String) -> String {
        var result = "\""
        for scalar in text.unicodeScalars {
            switch scalar {
            case "\"": result += "\\\""
            case "\\": result += "\\\\"
            case "\n": result += "\\n"
            case let other where other.value < 0x20:
                let digits = String(other.value, radix: 16)
                result += "\\u" + String(repeating: "0", count: 4 - digits.count) + digits
            default: result.unicodeScalars.append(scalar)
            }
        }
        return result + "\""
    }
}

/// A number with a fixed count of decimal places (0...6).
func decimal(_ value: Double, places: Int) -> String {
    guard value.isFinite, abs(value) < 1e12 else { return "\(value)" }
    var scale = 1
    for _ in 0..<places { scale *= 10 }
    let scaled = Int((abs(value) * Double(scale)).rounded())
    let sign = value < 0 && scaled > 0 ? "-" : ""
    guard places > 0 else { return sign + String(scaled) }
    let fraction = String(scaled % scale)
    return sign + String(scaled / scale) + "." + String(repeating: "0", count: places - fraction.count) + fraction
}
