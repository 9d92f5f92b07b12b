// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

// Pages of a report. Names of shards, error codes and the machine's come from elsewhere, so text becomes markup by its
// type only: what is put into a literal is escaped unless it is markup already. A page loads nothing and runs nothing,
// which its own policy says to the browser too.

/// Markup that is safe to be shown.
struct HTML: ExpressibleByStringInterpolation, Sendable {
    let text: String

    init(stringLiteral value: String) { text = value }
    init(stringInterpolation: Interpolation) { text = stringInterpolation.text }

    /// Text of an element or of a quoted attribute.
    init(escaping plain: String) {
        var text = ""
        for scalar in plain.unicodeScalars {
            switch scalar {
            case "&": text += "&amp;"
            case "<": text += "&lt;"
            case ">": text += "&gt;"
            case "\"": text += "&quot;"
            case "'": text += "&#39;"
            // Controls are no characters of HTML, and marks of direction would turn what stands around them.
            case _ where scalar.properties.generalCategory == .control: text += "\u{FFFD}"
            case "\u{202A}"..."\u{202E}", "\u{2066}"..."\u{2069}": text += "\u{FFFD}"
            default: text.unicodeScalars.append(scalar)
            }
        }
        self.text = text
    }

    init(_ parts: [HTML]) { text = parts.map(\.text).joined(separator: "\n") }

    /// Literals as they are, everything else escaped.
    struct Interpolation: StringInterpolationProtocol {
        var text = ""

        init(literalCapacity: Int, interpolationCount: Int) { text.reserveCapacity(literalCapacity) }

        mutating func appendLiteral(_ literal: String) { text += literal }
        mutating func appendInterpolation(_ markup: HTML) { text += markup.text }
        mutating func appendInterpolation(_ parts: [HTML]) { text += HTML(parts).text }
        mutating func appendInterpolation(_ plain: String) { text += HTML(escaping: plain).text }
        mutating func appendInterpolation(_ number: Int) { text += String(number) }
    }

    typealias StringInterpolation = Interpolation

    /// A whole page in one file.
    static func page(title: String, _ body: [HTML]) -> HTML {
        """
        <!DOCTYPE html>
        <html lang="en">
        <head>
        <meta charset="utf-8">
        <meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
        <meta name="viewport" content="width=device-width, initial-scale=1">
        <meta name="color-scheme" content="light dark">
        <title>\(title)</title>
        <style>\(HTML.style)</style>
        </head>
        <body>
        <main>
        \(body)
        </main>
        </body>
        </html>

        """
    }

    /// A part of a page under its heading; nothing when it has nothing to show.
    static func section(_ title: String, _ body: [HTML]) -> HTML {
        body.isEmpty ? "" : "<section>\n<h2>\(title)</h2>\n\(body)\n</section>"
    }

    static func paragraph(_ text: String) -> HTML { "<p>\(text)</p>" }

    /// Names in the first column are to the left, figures to the right.
    static func table(_ header: [HTML], _ rows: [[HTML]], names: Int = 1) -> HTML {
        let head = HTML(header.enumerated().map { "<th scope=\"col\"\(align($0, names))>\($1)</th>" })
        let body = HTML(
            rows.map { cells in
                let row = HTML(
                    cells.enumerated().map { index, cell in
                        index == 0
                            ? "<th scope=\"row\">\(cell)</th>" : "<td\(align(index, names))>\(cell)</td>"
                    })
                return "<tr>\n\(row)\n</tr>"
            })
        return """
            <div class="wide"><table>
            <thead><tr>
            \(head)
            </tr></thead>
            <tbody>
            \(body)
            </tbody>
            </table></div>
            """
    }

    private static func align(_ index: Int, _ names: Int) -> HTML { index < names ? "" : " class=\"figure\"" }

    /// A value of the result's JSON, which the page names by its JSON pointer.
    static func figure(_ pointer: String, _ value: String, _ shown: String) -> HTML {
        "<data data-json=\"\(pointer)\" value=\"\(value)\">\(shown)</data>"
    }

    static func figure(_ pointer: String, _ value: Int) -> HTML {
        figure(pointer, String(value), Quantity.count(Double(value)))
    }
}
