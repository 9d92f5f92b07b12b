// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

/// Characters by place and kind, for errors that repeat nothing.
enum EmailRules {
    /// Where the first control character is.
    static func firstControl(_ text: String) -> String.Index? {
        text.utf8.firstIndex { $0 < 32 || $0 == 127 }
    }

    static func controlCharacter(at place: String.Index, of text: String) -> String {
        "It has a control character at byte \(number(place, text)) of \(text.utf8.count); line breaks and other control "
            + "characters are not allowed."
    }

    /// `Byte 2 of 14`, counted from 1.
    static func byte(at place: String.Index, of text: String) -> String {
        "Byte \(number(place, text)) of \(text.utf8.count)"
    }

    private static func number(_ place: String.Index, _ text: String) -> Int {
        text.utf8.distance(from: text.startIndex, to: place) + 1
    }

    static func kind(_ byte: UInt8) -> String {
        switch byte {
        case 32: "a space"
        case ..<32, 127: "a control character"
        case 128...: "not ASCII and so a character"
        default: "a punctuation mark"
        }
    }
}
