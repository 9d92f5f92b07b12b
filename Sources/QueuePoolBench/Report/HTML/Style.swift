// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

extension HTML {
    /// How pages look: by the reader's choice of light or dark, and dark on white on paper. Lines differ by their dashes
    /// too, for those who do not see their colours.
    static let style: HTML = """
        :root { --text: #1b1f24; --dim: #57606a; --page: #fff; --panel: #f6f8fa; --rule: #d5dae0; --grid: #e4e8ec; \
        --good: #116329; --bad: #b3141d; --warn: #7d4e00; --s1: #0068a8; --s2: #c24e00; --s3: #007a5a; --s4: #8a3f96; }
        @media screen and (prefers-color-scheme: dark) { :root { --text: #e4e9ef; --dim: #9aa5b1; --page: #0e1217; \
        --panel: #171c23; --rule: #343c46; --grid: #252c35; --good: #5bd07e; --bad: #ff8a80; --warn: #f0b64d; \
        --s1: #62b6f0; --s2: #ffa05c; --s3: #41cfa4; --s4: #d59be0; } }
        * { box-sizing: border-box; }
        body { margin: 0; background: var(--page); color: var(--text); font: 15px/1.5 system-ui, sans-serif; }
        main { max-width: 62rem; margin: 0 auto; padding: 1.5rem 1.25rem 3rem; }
        h1 { font-size: 1.5rem; line-height: 1.25; margin: 0 0 .25rem; }
        h2 { font-size: 1.1rem; margin: 2.25rem 0 .6rem; border-bottom: 1px solid var(--rule); padding-bottom: .25rem; }
        p { margin: .5rem 0; } .dim { color: var(--dim); overflow-wrap: anywhere; }
        .verdict { margin: 1.25rem 0; padding: .9rem 1.1rem; border-left: 6px solid var(--good); background: var(--panel); }
        .verdict p { font-size: 1.1rem; font-weight: 600; margin: 0; color: var(--good); }
        .verdict ul { margin: .5rem 0 0; padding-left: 1.2rem; }
        .verdict.bad { border-color: var(--bad); } .verdict.bad p, .bad { color: var(--bad); }
        .verdict.warn { border-color: var(--warn); } .verdict.warn p, .warn { color: var(--warn); }
        .good { color: var(--good); }
        .wide { overflow-x: auto; }
        table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
        th, td { text-align: left; padding: .28rem .7rem .28rem 0; border-bottom: 1px solid var(--grid); \
        vertical-align: top; } th { font-weight: 500; } thead th { color: var(--dim); font-size: .85rem; }
        .figure { text-align: right; padding-right: 0; padding-left: .7rem; } td.figure { white-space: nowrap; }
        thead th { vertical-align: bottom; }
        dl { display: grid; grid-template-columns: repeat(auto-fill, minmax(13rem, 1fr)); gap: .4rem 1.2rem; margin: 0; }
        dl div { display: flex; flex-direction: column; } dt { color: var(--dim); font-size: .85rem; }
        dd { margin: 0; overflow-wrap: anywhere; }
        figure { margin: 1.1rem 0; break-inside: avoid; } figcaption { font-weight: 600; margin-bottom: .35rem; }
        svg { display: block; width: 100%; height: auto; }
        .grid { stroke: var(--grid); fill: none; } .axis { stroke: var(--dim); fill: none; }
        text { fill: var(--text); font: 12px system-ui, sans-serif; } .title { fill: var(--dim); }
        .line { fill: none; stroke-width: 2; stroke-linejoin: round; stroke-linecap: round; }
        .line.s1 { stroke: var(--s1); } .line.s2 { stroke: var(--s2); stroke-dasharray: 7 4; }
        .line.s3 { stroke: var(--s3); stroke-dasharray: 2 4; } .line.s4 { stroke: var(--s4); stroke-dasharray: 9 4 2 4; }
        circle.s1, rect.s1 { fill: var(--s1); } circle.s2 { fill: var(--s2); } circle.s3 { fill: var(--s3); }
        circle.s4 { fill: var(--s4); }
        .legend { list-style: none; display: flex; flex-wrap: wrap; gap: .2rem 1.4rem; margin: .2rem 0 0; \
        padding: 0 0 0 1rem; } .legend li { display: flex; align-items: center; gap: .45rem; }
        .key { width: 30px; flex: none; } summary { cursor: pointer; color: var(--dim); }
        @media print { body { font-size: 11px; } main { padding: 0; max-width: none; } section { break-inside: auto; } \
        tr, .verdict { break-inside: avoid; } }
        """
}
