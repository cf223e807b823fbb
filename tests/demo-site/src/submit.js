// A second click while the first is on its way would be a second post.
addEventListener("submit", (event) => {
  const button = event.target.querySelector("button[type=submit]");
  if (button) setTimeout(() => { button.disabled = true; button.setAttribute("aria-busy", "true"); });
});
addEventListener("pageshow", () => {
  for (const button of document.querySelectorAll("button[aria-busy]")) {
    button.disabled = false;
    button.removeAttribute("aria-busy");
  }
});
