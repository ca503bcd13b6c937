// SPDX-License-Identifier: Apache-2.0
// Asks for the page again while parts of it change, and takes those over. Everything works without.
"use strict";

const freshness = document.getElementById("freshness");

async function refresh() {
  const parts = document.querySelectorAll("[data-live]");
  if (!parts.length) return;
  const began = performance.now();
  if (!document.hidden) {
    try {
      const answer = await fetch(location.href, { headers: { accept: "text/html" }, cache: "no-store" });
      if (answer.redirected) return location.reload();
      if (!answer.ok) throw new Error(answer.statusText);
      const page = new DOMParser().parseFromString(await answer.text(), "text/html");
      for (const part of parts) {
        const fresh = page.getElementById(part.id);
        // Nothing is taken away from under somebody's fingers.
        if (!fresh || part.contains(document.activeElement) || fresh.outerHTML === part.outerHTML) continue;
        part.replaceWith(document.adoptNode(fresh));
      }
      if (freshness.textContent) freshness.textContent = "";
    } catch {
      freshness.textContent = "Not up to date: the server does not answer.";
    }
  }
  // A page that takes long is asked for less often.
  setTimeout(refresh, Math.max(2000, 10 * (performance.now() - began)));
}

document.addEventListener("submit", (event) => {
  const question = event.target.dataset.ask;
  if (question && !confirm(question)) event.preventDefault();
});

setTimeout(refresh, 2000);
