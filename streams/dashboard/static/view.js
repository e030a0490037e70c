// What is shown: all of it is in the URL, so that a view can be shared.

const NAMES = ["source", "range", "from", "to", "tests", "find", "domain"]

export function view() {
  const parameters = new URLSearchParams(location.search)
  return Object.fromEntries(NAMES.map((name) => [name, parameters.get(name) ?? ""]))
}

export function address(changes) {
  const next = { ...view(), ...changes }
  const parameters = new URLSearchParams(Object.entries(next).filter(([, value]) => value))
  return `?${parameters}`
}

export function query(changes = {}) {
  const { source, range, from, to, tests } = view()
  const wanted = from || to ? { source, from, to, tests } : { source, range, tests }
  return new URLSearchParams(Object.entries({ ...wanted, ...changes }).filter(([, value]) => value))
}

export function go(changes) {
  history.pushState(null, "", address(changes))
  dispatchEvent(new Event("viewchange"))
}

// A link to another view: an ordinary one, so that it can be opened in a new tab.
export function follow(link, changes, then = () => {}) {
  link.href = address(changes)
  link.addEventListener("click", (event) => {
    if (event.metaKey || event.ctrlKey || event.shiftKey || event.button) return
    event.preventDefault()
    go(changes)
    then()
  })
  return link
}
