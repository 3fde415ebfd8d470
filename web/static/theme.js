// Before the first paint, so not a module: the theme that this browser was told to keep. The button goes through
// the system's choice, light and dark.

(() => {
  const root = document.documentElement;
  const order = ["system", "light", "dark"];
  let theme = "system";
  try {
    theme = localStorage.getItem("theme") ?? "system";
  } catch {
    // No storage here: the choice lasts as long as the page.
  }

  function show() {
    if (theme === "system") delete root.dataset.theme;
    else root.dataset.theme = theme;
  }

  function label(button) {
    button.setAttribute("aria-label", `Theme: ${theme}`);
    button.title = `Theme: ${theme}`;
  }

  show();
  document.addEventListener("DOMContentLoaded", () => {
    const button = document.getElementById("theme");
    label(button);
    button.addEventListener("click", () => {
      theme = order[(order.indexOf(theme) + 1) % order.length];
      show();
      label(button);
      try {
        localStorage.setItem("theme", theme);
      } catch {
        // As above.
      }
    });
  });
})();
