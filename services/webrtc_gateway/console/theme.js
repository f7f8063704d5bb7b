// Dark or light. A classic script in the head: it decides before the first paint, so nothing flashes.

(() => {
  const KEY = "framemesh.theme"; // "dark", "light", or nothing: as the system has it
  const GROUND = { dark: "#11161c", light: "#ffffff" }; // of the browser's own bar on a phone
  const system = matchMedia("(prefers-color-scheme: light)");

  function chosen() {
    try {
      return localStorage.getItem(KEY);
    } catch {
      return null; // storage is refused in some private windows
    }
  }

  function current() {
    const theme = chosen();
    if (theme === "dark" || theme === "light") return theme;
    return system.matches ? "light" : "dark";
  }

  function show() {
    const theme = current();
    document.documentElement.dataset.theme = theme;
    document.querySelector('meta[name="theme-color"]')?.setAttribute("content", GROUND[theme]);
    document.dispatchEvent(new Event("themechange"));
  }

  window.framemeshTheme = {
    get current() {
      return current();
    },
    toggle() {
      const next = current() === "dark" ? "light" : "dark";
      try {
        // Back to what the system has: follow it again.
        if ((next === "light") === system.matches) localStorage.removeItem(KEY);
        else localStorage.setItem(KEY, next);
        show();
      } catch {
        document.documentElement.dataset.theme = next; // for as long as the page lives
      }
    },
  };
  system.addEventListener("change", show);
  addEventListener("storage", (event) => event.key === KEY && show()); // the other windows of this console
  show();
})();
