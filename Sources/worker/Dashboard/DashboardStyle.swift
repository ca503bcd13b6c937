// SPDX-License-Identifier: Apache-2.0

/// What the dashboard has that cards have not: forms, bars, a graph.
enum DashboardStyle {
    static let css: HTML = """

        a { color: var(--ours); } a:focus-visible, button:focus-visible, input:focus-visible,
        select:focus-visible, .scroll:focus-visible { outline: 2px solid var(--ours); outline-offset: 2px; }
        .skip { position: absolute; left: -99rem; } .skip:focus { position: static; }
        .bar { display: flex; justify-content: space-between; align-items: center; gap: 1rem;
          border-bottom: 1px solid var(--line); padding-bottom: .5rem; margin-bottom: 1.25rem; }
        nav a { margin-right: 1rem; } nav a:first-child { font-weight: 600; }
        main:focus { outline: none; } footer { margin-top: 3rem; font-size: .9rem; }
        form { display: inline-flex; flex-wrap: wrap; gap: .35rem .75rem; align-items: center; margin: 0; }
        label { color: var(--soft); font-size: .9rem; }
        input, select, button { font: inherit; font-size: .9rem; color: var(--ink); background: var(--panel);
          border: 1px solid var(--line); border-radius: 6px; padding: .2rem .6rem; min-height: 1.9rem; }
        button { cursor: pointer; } button:hover { border-color: var(--ours); }
        .actions { display: flex; flex-wrap: wrap; align-items: center; gap: .5rem; margin: .5rem 0; }
        progress { width: 7rem; height: .6rem; accent-color: var(--ours); vertical-align: middle; }
        ol.list { columns: 18rem 2; padding-left: 1.75rem; } ol.list li { break-inside: avoid; }
        svg.graph { min-width: 52rem; } svg .step { fill: var(--panel); stroke: var(--line); }
        svg .done { fill: var(--ours); opacity: .18; } svg .step.running { stroke: var(--ours); }
        svg .step.failed, svg .step.cancelled { stroke: var(--bad); }
        svg .edge { fill: none; stroke: var(--soft); opacity: .6; }
        svg a:focus-visible .step { stroke-width: 2.5; }
        """
}
