// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

// One page without anything from elsewhere, so that it works on a machine without a network and under a content security
// policy that allows nothing but this page's own style, script and requests. It shows names, sizes, counts and ages, and
// writes them as text nodes only. It never asks for a message, so no body can appear on it.
// swift-format-ignore-file

/// The console at `/`.
package enum ConsolePage {
    /// Goes into the header `Content-Security-Policy` of the page.
    package static let contentSecurityPolicy =
        "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; connect-src 'self'; "
        + "img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

    /// HTML in UTF-8.
    package static let html = #"""
        <!doctype html>
        <html lang="en">
        <head>
        <meta charset="utf-8">
        <meta name="viewport" content="width=device-width, initial-scale=1">
        <title>queuepool</title>
        <link rel="icon" href="data:,">
        <style>
          :root {
            color-scheme: light dark;
            --ground: light-dark(#fbfbfa, #16181b); --panel: light-dark(#ffffff, #1e2125);
            --ink: light-dark(#1b1d20, #e7e8ea); --faint: light-dark(#5b6168, #a0a7b0);
            --line: light-dark(#d9dcdf, #363b42); --accent: light-dark(#0b5cad, #6cb2ff);
            --bad: light-dark(#a3180f, #ff8a80); --good: light-dark(#176b34, #7ddc98);
          }
          * { box-sizing: border-box; }
          body { margin: 0; font: 16px/1.5 system-ui, sans-serif; background: var(--ground); color: var(--ink); }
          header, main { max-width: 72rem; margin: 0 auto; padding: 1rem; }
          header { display: flex; flex-wrap: wrap; gap: .25rem 1.5rem; align-items: baseline; }
          h1 { font-size: 1.4rem; margin: 0; } h2 { font-size: 1.15rem; margin: 0 0 .25rem; }
          a { color: var(--accent); }
          nav { display: flex; gap: 1rem; }
          #state { color: var(--faint); margin-left: auto; } #state.bad, .bad { color: var(--bad); } .good { color: var(--good); }
          section { background: var(--panel); border: 1px solid var(--line); border-radius: .5rem; padding: 1rem; margin: 0 0 1rem; }
          .facts { color: var(--faint); margin: 0 0 .75rem; }
          .scroll { overflow-x: auto; }
          table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
          th, td { padding: .25rem .75rem; text-align: right; border-bottom: 1px solid var(--line); white-space: nowrap; }
          th:first-child, td:first-child { text-align: left; padding-left: 0; }
          thead th { color: var(--faint); font-weight: 600; } tfoot td, tfoot th { font-weight: 600; border-bottom: 0; }
          form { display: grid; gap: .75rem; grid-template-columns: repeat(auto-fit, minmax(14rem, 1fr)); align-items: end; }
          label { display: grid; gap: .25rem; color: var(--faint); font-size: .9rem; } label.wide { grid-column: 1 / -1; }
          input, select, textarea, button { font: inherit; color: var(--ink); background: var(--ground); border: 1px solid var(--line);
            border-radius: .3rem; padding: .4rem .6rem; width: 100%; }
          button { background: var(--accent); color: light-dark(#fff, #10151b); border: 0; font-weight: 600; cursor: pointer; }
          button:disabled { opacity: .5; cursor: default; }
          :focus-visible { outline: 3px solid var(--accent); outline-offset: 2px; }
          output { display: block; min-height: 1.5em; margin-top: .5rem; }
        </style>
        </head>
        <body>
        <header>
          <h1>queuepool</h1>
          <nav aria-label="Further pages"><a href="/metrics">metrics</a><a href="/openapi.json">API</a><a href="/readyz">readiness</a></nav>
          <span id="state" role="status">loading</span>
        </header>
        <main>
          <div id="pools"></div>
          <section aria-labelledby="send-title">
            <h2 id="send-title">Send a test message</h2>
            <p class="facts">The answer says where it went. Messages themselves are never shown here.</p>
            <form id="send">
              <label>Pool<select id="pool" required></select></label>
              <label>Message group<input id="group" required maxlength="128" pattern="[!-~]+" value="test" autocomplete="off"></label>
              <label class="wide">Body<textarea id="body" rows="3" required autocomplete="off"></textarea></label>
              <button id="button" type="submit" disabled>Send</button>
            </form>
            <output id="answer" for="pool group body"></output>
          </section>
          <noscript><p>This page needs JavaScript; <a href="/v1/pools">/v1/pools</a> gives the same as JSON.</p></noscript>
        </main>
        <script>
        "use strict";
        const byID = (id) => document.getElementById(id);
        const number = new Intl.NumberFormat("en");

        function element(name, text, attributes = {}) {
          const made = document.createElement(name);
          if (text !== undefined) made.textContent = text;
          for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
          return made;
        }

        function age(seconds) {
          const s = Math.max(0, Math.floor(seconds)), two = (n) => String(n).padStart(2, "0");
          if (s < 60) return `${s}s`;
          if (s < 3600) return `${Math.floor(s / 60)}m${two(s % 60)}s`;
          if (s < 86400) return `${Math.floor(s / 3600)}h${two(Math.floor(s / 60) % 60)}m`;
          return `${Math.floor(s / 86400)}d${two(Math.floor(s / 3600) % 24)}h`;
        }

        const rate = (perSecond) => perSecond === null ? "unknown" : number.format(Math.round(perSecond * 10) / 10);
        const figures = (row) => [row.backlog, row.inFlight, row.delayed].map((n) => number.format(n)).concat(row.oldestAgeSeconds === null ? "unknown" : age(row.oldestAgeSeconds));

        function row(head, cells, slots) {
          const made = element("tr");
          made.append(element("th", head, { scope: "row" }));
          for (const cell of [number.format(slots), ...cells]) made.append(element("td", cell));
          return made;
        }

        function shardTable(pool) {
          const table = element("table", undefined, { "aria-label": `Shards of ${pool.name}` });
          const head = element("tr"), body = element("tbody"), foot = element("tfoot");
          for (const title of ["Shard", "Slots", "Backlog", "In flight", "Delayed", "Oldest", "Sent/s", "Deleted/s", "Lease", "Owner"]) head.append(element("th", title, { scope: "col" }));
          const top = element("thead");
          top.append(head);
          let slots = 0;
          for (const shard of pool.shards) {
            slots += shard.slots;
            body.append(row(shard.name, [...figures(shard), rate(shard.sentPerSecond), rate(shard.deletedPerSecond), shard.owner ? age(shard.leaseAgeSeconds) : "", shard.owner ?? "nobody"], shard.slots));
          }
          const sum = (name) => pool.shards.every((shard) => shard[name] !== null) ? pool.shards.reduce((all, shard) => all + shard[name], 0) : null;
          foot.append(row("all", [...figures(pool), rate(sum("sentPerSecond")), rate(sum("deletedPerSecond")), "", ""], slots));
          table.append(top, body, foot);
          return table;
        }

        function poolSection(pool) {
          const section = element("section", undefined, { "aria-label": pool.name });
          const quota = pool.quota === null || pool.quota === undefined ? "no quota" : `quota ${number.format(pool.quota)} requests/s`;
          const dead = pool.deadLetterQueue ? `, dead-letter queue ${pool.deadLetterQueue}` : "";
          const scroll = element("div", undefined, { class: "scroll", tabindex: "0", role: "region", "aria-label": `Table of ${pool.name}` });
          scroll.append(shardTable(pool));
          section.append(element("h2", pool.name), element("p", `epoch ${pool.epoch}, ${pool.shards.length} shards, ${quota}${dead}`, { class: "facts" }), scroll);
          return section;
        }

        async function fetched(path) {
          const answer = await fetch(path, { cache: "no-store", signal: AbortSignal.timeout(10000) });
          if (!answer.ok) throw new Error(`${path} answered ${answer.status}`);
          return answer.json();
        }

        function fillChoice(names) {
          const choice = byID("pool");
          if ([...choice.options].map((option) => option.value).join() === names.join()) return;
          const chosen = choice.value;
          choice.replaceChildren(...names.map((name) => element("option", name, { value: name })));
          if (names.includes(chosen)) choice.value = chosen;
          byID("button").disabled = names.length === 0;
        }

        // Who reads a wide table by keyboard or scrolls in it stays where they are.
        function replacePools(children) {
          const regions = () => [...byID("pools").querySelectorAll("[role=region]")];
          const places = new Map(regions().map((r) => [r.getAttribute("aria-label"), [r.scrollLeft, r === document.activeElement]]));
          byID("pools").replaceChildren(...children);
          for (const region of regions()) {
            const [left, focused] = places.get(region.getAttribute("aria-label")) ?? [0, false];
            region.scrollLeft = left;
            if (focused) region.focus({ preventScroll: true });
          }
        }

        async function refresh() {
          const state = byID("state");
          try {
            const { pools } = await fetched("/v1/pools");
            const details = await Promise.all(pools.map((pool) => fetched(`/v1/pools/${encodeURIComponent(pool.name)}`)));
            replacePools(details.length ? details.map(poolSection) : [element("p", "There is no pool yet.")]);
            fillChoice(details.map((pool) => pool.name));
            if (state.textContent !== "live") state.textContent = "live";
            state.className = "";
          } catch (error) {
            state.textContent = `no figures: ${error.message}`;
            state.className = "bad";
          }
        }

        async function repeat() {
          if (!document.hidden) await refresh();
          setTimeout(repeat, 2000);
        }

        byID("send").addEventListener("submit", async (event) => {
          event.preventDefault();
          const output = byID("answer"), button = byID("button");
          button.disabled = true;
          try {
            const answer = await fetch(`/v1/pools/${encodeURIComponent(byID("pool").value)}/messages`, {
              method: "POST", headers: { "Content-Type": "application/json" },
              body: JSON.stringify({ group: byID("group").value, body: byID("body").value }),
            });
            const result = await answer.json();
            output.className = answer.ok ? "good" : "bad";
            output.textContent = answer.ok
              ? `Stored in ${result.shard} as ${result.id}, sequence number ${result.sequenceNumber}.`
              : `${result.title} (${answer.status})${result.field ? `, field ${result.field}` : ""}`;
            if (answer.ok) byID("body").value = "";
          } catch (error) {
            output.className = "bad";
            output.textContent = `not sent: ${error.message}`;
          }
          button.disabled = false;
          refresh();
        });

        repeat();
        </script>
        </body>
        </html>
        """#
}
