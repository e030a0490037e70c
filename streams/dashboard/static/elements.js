// Elements. What comes from events goes in as text nodes only.

export function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag)
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) made.addEventListener(name.slice(2), value)
    else if (value === true) made.setAttribute(name, "")
    else if (value !== false && value !== undefined) made.setAttribute(name, value)
  }
  made.append(...children.filter((child) => child !== null && child !== undefined))
  return made
}

export function color(event) {
  return getComputedStyle(document.documentElement).getPropertyValue(`--${event}`).trim() || "#888"
}

export function dot(event) {
  const made = element("span", { class: "dot", "aria-hidden": "true" })
  made.style.background = `var(--${event})`
  return made
}

export async function copy(text) {
  if (navigator.clipboard) return navigator.clipboard.writeText(text)
  const area = element("textarea", { class: "hidden" }) // pages over plain http have no clipboard
  area.value = text
  ;(document.querySelector("dialog[open]") ?? document.body).append(area)
  area.select()
  document.execCommand("copy")
  area.remove()
}
