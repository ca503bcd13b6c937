// SPDX-License-Identifier: Apache-2.0
// Asks for the page again while parts of it change, and takes those over. Everything works without.
"use strict";

const freshness = document.getElementById("freshness");

// Nothing is taken away from under somebody's fingers.
function isInUse(part) {
  const focus = document.activeElement;
  const marked = getSelection();
  return (part.contains(focus) && focus.matches("a, button, input, select, summary"))
    || (!marked.isCollapsed && part.contains(marked.anchorNode));
}

// As it stood: what was opened stays open, and what was moved aside stays there.
function replace(part, fresh) {
  const all = (root, selector) => [...root.querySelectorAll(selector)];
  const opened = all(part, "details").map((details) => details.open);
  all(fresh, "details").forEach((details, i) => { details.open = opened[i] ?? false; });
  if (fresh.outerHTML === part.outerHTML) return;
  const panes = all(part, ".scroll");
  const places = panes.map((pane) => pane.scrollLeft);
  const focused = panes.indexOf(document.activeElement);
  part.replaceWith(fresh);
  all(fresh, ".scroll").forEach((pane, i) => {
    pane.scrollLeft = places[i] ?? 0;
    if (i === focused) pane.focus({ preventScroll: true });
  });
}

async function refresh() {
  const parts = document.querySelectorAll("[data-live]");
  if (!parts.length) return;
  const began = performance.now();
  let words = "";
  if (!document.hidden) {
    try {
      const answer = await fetch(location.href, { headers: { accept: "text/html" }, cache: "no-store" });
      if (answer.redirected) return location.reload();
      if (!answer.ok) throw new Error(`the server answers ${answer.status}`);
      const page = new DOMParser().parseFromString(await answer.text(), "text/html");
      for (const part of parts) {
        const fresh = page.getElementById(part.id);
        if (!fresh) continue;
        if (isInUse(part)) words = "What you use or have marked is not brought up to date meanwhile.";
        else replace(part, document.adoptNode(fresh));
      }
    } catch (error) {
      words = `Not up to date: ${error instanceof TypeError ? "the server does not answer" : error.message}.`;
    }
  }
  if (freshness.textContent !== words) freshness.textContent = words;
  // A page that takes long is asked for less often.
  setTimeout(refresh, Math.max(2000, 10 * (performance.now() - began)));
}

document.addEventListener("submit", (event) => {
  const question = event.target.dataset.confirm;
  if (question && !confirm(question)) event.preventDefault();
});

setTimeout(refresh, 2000);
