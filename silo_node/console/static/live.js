// Keeps the parts of a page that are marked with data-live up to date. Without it the page is whole, and shows the
// moment it was loaded. Answers come from this console only and are escaped there.
"use strict";
for (const part of document.querySelectorAll("[data-live]")) {
  const pause = Number(part.dataset.every) * 1000;
  let shown = "";
  const look = async () => {
    try {
      if (!document.hidden && !part.contains(document.activeElement)) {
        const answer = await fetch(part.dataset.live, { credentials: "same-origin" });
        if (answer.redirected) return location.reload();
        const text = answer.ok ? await answer.text() : shown;
        if (text !== shown) part.innerHTML = shown = text;
      }
    } catch {
      // The console was stopped; what is shown stays, and the next look may find it again.
    }
    setTimeout(look, pause);
  };
  setTimeout(look, pause);
}
