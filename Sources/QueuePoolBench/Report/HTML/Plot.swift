// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

/// One line of a plot.
struct PlotSeries: Sendable {
    struct Point: Hashable, Sendable {
        let x: Double
        /// `nil` where nothing is known: the line has a gap.
        let y: Double?
    }

    let name: String
    /// Which of the lines' colours and dashes; 1...4.
    let style: Int
    let points: [Point]
}

/// Lines over two axes, drawn as SVG.
struct Plot: Sendable {
    let title: String
    let xAxis: Axis
    let yAxis: Axis
    let series: [PlotSeries]

    private static let (width, height) = (760.0, 290.0)
    private static let (left, right, top, bottom) = (84.0, 22.0, 12.0, 50.0)
    /// Single values are marked as long as they can be told apart.
    private static let marksMax = 60

    /// The plot, its title above and what its lines are below.
    var html: HTML {
        let label = "\(title). " + series.map(\.name).joined(separator: ", ")
        return """
            <figure>
            <figcaption>\(title)</figcaption>
            <svg viewBox="0 0 \(Int(Plot.width)) \(Int(Plot.height))" role="img" aria-label="\(label)">
            \(grid)
            \(series.map(line))
            </svg>
            \(legend)
            </figure>
            """
    }

    private var legend: HTML {
        let items: [HTML] = series.map {
            """
            <li><svg viewBox="0 0 30 8" class="key" aria-hidden="true"><path class="line s\($0.style)" d="M1 4H29"/></svg>\
            \($0.name)</li>
            """
        }
        return "<ul class=\"legend\">\n\(items)\n</ul>"
    }

    private var grid: HTML {
        let (right, bottom) = (Plot.width - Plot.right, Plot.height - Plot.bottom)
        var parts: [HTML] = yAxis.ticks.map { tick in
            let y = y(tick.value)
            return """
                <path class="grid" d="M\(at(Plot.left)) \(at(y))H\(at(right))"/>\
                <text class="tick" text-anchor="end" x="\(at(Plot.left - 8))" y="\(at(y + 4))">\(tick.label)</text>
                """
        }
        parts += xAxis.ticks.map { tick in
            let x = x(tick.value)
            return """
                <path class="grid" d="M\(at(x)) \(at(Plot.top))V\(at(bottom))"/>\
                <text class="tick" text-anchor="middle" x="\(at(x))" y="\(at(bottom + 17))">\(tick.label)</text>
                """
        }
        let middle = (Plot.top + bottom) / 2
        parts.append(
            """
            <path class="axis" d="M\(at(Plot.left)) \(at(Plot.top))V\(at(bottom))H\(at(right))"/>
            <text class="title" text-anchor="middle" x="\(at((Plot.left + right) / 2))" \
            y="\(at(Plot.height - 10))">\(xAxis.title)</text>
            <text class="title" text-anchor="middle" transform="translate(14 \(at(middle))) rotate(-90)">\(yAxis.title)\
            </text>
            """)
        return HTML(parts)
    }

    private func line(_ series: PlotSeries) -> HTML {
        var path = ""
        var isDrawing = false
        var marks: [HTML] = []
        for point in series.points {
            guard let value = point.y, value.isFinite, !yAxis.isLogarithmic || value > 0 else {
                isDrawing = false
                continue
            }
            let (x, y) = (at(x(point.x)), at(y(value)))
            path += "\(isDrawing ? "L" : "M")\(x) \(y)"
            isDrawing = true
            if series.points.count <= Plot.marksMax {
                marks.append("<circle class=\"s\(series.style)\" cx=\"\(x)\" cy=\"\(y)\" r=\"2\"/>")
            }
        }
        return "<path class=\"line s\(series.style)\" d=\"\(path)\"/>\n\(marks)"
    }

    private func x(_ value: Double) -> Double {
        Plot.left + xAxis.position(value) * (Plot.width - Plot.left - Plot.right)
    }

    private func y(_ value: Double) -> Double {
        Plot.height - Plot.bottom - yAxis.position(value) * (Plot.height - Plot.top - Plot.bottom)
    }

    private func at(_ coordinate: Double) -> String { decimal(coordinate, places: 1) }
}
