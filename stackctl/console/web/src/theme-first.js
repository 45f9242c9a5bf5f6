/** Runs before the first paint: the chosen theme, where one was chosen; else the system's. */
try {
  const chosen = localStorage.getItem("stackctl.theme");
  if (chosen) document.documentElement.dataset.theme = chosen;
} catch {
  // storage is forbidden: the system's theme it is
}
