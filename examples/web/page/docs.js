// Shows the files that the page is made of.

for (const text of document.querySelectorAll("[data-file]")) {
  const { file } = text.dataset;
  const response = await fetch(file).catch(() => undefined);
  text.textContent = response?.ok ? await response.text() : `${file} could not be loaded.`;
}
// Their lengths are known only now.
document.getElementById(location.hash.slice(1))?.scrollIntoView();
