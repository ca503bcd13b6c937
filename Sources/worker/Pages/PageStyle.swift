// SPDX-License-Identifier: Apache-2.0

/// How pages look: by light and by night, on a phone, and on paper.
enum PageStyle {
    static let css: HTML = """
        :root { color-scheme: light dark;
          --ink: light-dark(#1b1f24, #e8eaed); --soft: light-dark(#57606a, #a9b1ba);
          --line: light-dark(#d0d7de, #3d444d); --paper: light-dark(#ffffff, #15181c);
          --panel: light-dark(#f6f8fa, #1f2328); --ours: light-dark(#0a5cad, #6cb6ff);
          --theirs: light-dark(#8a6100, #e0b04d); --good: light-dark(#116329, #56d364);
          --bad: light-dark(#a40e26, #ff7b72); }
        * { box-sizing: border-box; }
        body { margin: 0 auto; max-width: 64rem; padding: 1.5rem 1rem 4rem; background: var(--paper);
          color: var(--ink); font: 16px/1.5 system-ui, sans-serif; }
        h1 { font-size: 1.6rem; margin: 0 0 .25rem; } h2 { font-size: 1.15rem; margin: 2.25rem 0 .5rem; }
        h3 { font-size: 1rem; margin: 1.25rem 0 .25rem; }
        p { margin: .5rem 0; overflow-wrap: anywhere; } .soft { color: var(--soft); } .good { color: var(--good); }
        .bad { color: var(--bad); } .lead { font-size: 1.1rem; }
        code, pre { font: .875em/1.5 ui-monospace, monospace; overflow-wrap: anywhere; }
        pre { background: var(--panel); padding: .75rem; white-space: pre-wrap; border-radius: 6px; }
        dl { display: grid; grid-template-columns: max-content 1fr; gap: .15rem 1rem; margin: .5rem 0; }
        dt { color: var(--soft); } dd { margin: 0; overflow-wrap: anywhere; }
        .scroll { overflow-x: auto; margin: .5rem 0; }
        table { border-collapse: collapse; width: 100%; font-size: .9rem; }
        caption { text-align: left; color: var(--soft); padding: .25rem 0; }
        th, td { text-align: left; padding: .3rem .75rem .3rem 0; border-bottom: 1px solid var(--line);
          vertical-align: top; font-weight: normal; }
        thead th { color: var(--soft); white-space: nowrap; }
        .n { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
        svg { display: block; width: 100%; min-width: 34rem; height: auto; margin: .5rem 0; }
        svg text { fill: var(--ink); font: 12px system-ui, sans-serif; } svg .soft { fill: var(--soft); }
        svg .axis { stroke: var(--line); } svg .ours { fill: var(--ours); stroke: var(--ours); }
        svg .theirs { fill: var(--theirs); stroke: var(--theirs); } svg .failed { fill: var(--bad); }
        svg .curve { fill: none; stroke-width: 1.75; }
        .pair { display: grid; gap: 1rem; grid-template-columns: repeat(auto-fit, minmax(18rem, 1fr)); }
        .answer { background: var(--panel); padding: .5rem .75rem; border-radius: 6px; font-size: .9rem; }
        @media (max-width: 40rem) { body { padding: 1rem .75rem; } dl { grid-template-columns: 1fr; }
          dd { margin-bottom: .35rem; } }
        @media print { body { max-width: none; font-size: 11pt; } .scroll { overflow: visible; }
          section, .answer { break-inside: avoid; } details > * { display: block; } }
        """
}
