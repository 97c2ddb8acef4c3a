// The page reads without this; it adds a switch of colours and buttons to copy code.

const root = document.documentElement;
const system = matchMedia("(prefers-color-scheme: dark)");

function show() {
  const chosen = localStorage.getItem("theme");
  root.dataset.theme = chosen || (system.matches ? "dark" : "light");
}

system.addEventListener("change", show);
document.querySelector(".theme").addEventListener("click", () => {
  localStorage.setItem("theme", root.dataset.theme === "dark" ? "light" : "dark");
  show();
});
show();

for (const code of document.querySelectorAll("pre.sourceCode")) {
  const button = document.createElement("button");
  button.className = "copy";
  button.type = "button";
  button.textContent = "Copy";
  button.addEventListener("click", async () => {
    const lines = code.querySelector("code").innerText;
    await navigator.clipboard.writeText(lines);
    button.textContent = "Copied";
    setTimeout(() => { button.textContent = "Copy"; }, 1500);
  });
  code.append(button);
}
