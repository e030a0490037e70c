// How panels are drawn, by their shape. Each gets a panel's declaration, an answer, and where to draw.

import { drawLines } from "./chart.js"
import { dot, element } from "./elements.js"
import { EVENTS, count, percent, points, written } from "./format.js"
import { follow } from "./view.js"

const FEW = 8
const NUMBERS = new Set(["count", "percent", "seconds", "decimal"])
const WORSE_WHEN_MORE = new Set(["Bounced", "Blocked", "Dropped", "Deferrals", "Unsubscribed", "Spam reports"])

function rates(panel, answer, content) {
  const before = new Map((answer.before ?? []).map((row) => [row[0], row[3]]))
  const tiles = answer.rows.map(([title, events, of, share]) => {
    const last = before.get(title) ?? null
    const difference = share === null || last === null ? null : share - last
    let change = element("p", { class: "small" }, last === null ? "nothing to compare with" : `as before (${percent(last)})`)
    if (difference !== null && Math.abs(difference) >= 0.00005) {
      const more = difference > 0
      const tone = more === WORSE_WHEN_MORE.has(title) ? "bad" : "good"
      const sign = element("span", { class: `change ${tone}` }, `${more ? "▲" : "▼"} ${points(difference)}`)
      change = element("p", { class: "small" }, sign, ` from ${percent(last)}`)
    }
    return element(
      "div", { class: "tile" },
      element("dt", {}, title),
      element("dd", {}, element("p", { class: "share" }, percent(share)),
        element("p", { class: "small" }, `${count(events)} of ${count(of)}`), change),
    )
  })
  content.replaceChildren(element("dl", { class: "tiles" }, ...tiles))
}

function funnel(panel, answer, content) {
  const messages = Object.fromEntries(answer.rows)
  const steps = [["processed", "processed"], ["delivered", "processed"], ["open", "delivered"], ["click", "delivered"]]
  const line = (step, of, label, aside = false) => {
    const value = messages[step] ?? 0
    const whole = messages[of] ?? 0
    const fill = element("div", { class: "fill" })
    fill.style.width = `${Math.min(100, (100 * value) / Math.max(messages.processed ?? 0, 1))}%`
    fill.style.background = `var(--${step})`
    const share = step === of || !whole ? "" : `${percent(value / whole)} of ${EVENTS[of].toLowerCase()}`
    return element(
      "li", { class: aside ? "aside" : "" },
      element("p", { class: "line" }, element("b", {}, label), element("span", {}, `${share} `, element("b", {}, count(value)))),
      element("div", { class: "track", "aria-hidden": "true" }, fill),
    )
  }
  const lines = steps.map(([step, of]) => line(step, of, step === "open" ? "Opened by people" : EVENTS[step]))
  content.replaceChildren(element("ol", { class: "funnel" }, ...lines, line("machine_open", "delivered", "Opened by machines", true)))
}

function cell(panel, column, value, largest) {
  if (column.format === "event") return element("td", {}, element("span", { class: "kind" }, dot(value), written(value, "event")))
  const text = written(value, column.format)
  if (NUMBERS.has(column.format)) {
    const made = element("td", { class: "number" }, text)
    if (column.bar) {
      const meter = element("span", { class: "meter", "aria-hidden": "true" })
      meter.style.width = `${(100 * value) / Math.max(largest, 1)}%`
      made.append(meter)
    }
    return made
  }
  if (column.format === "time") return element("td", { class: "time" }, text)
  const long = ["says", "reason", "detail", "answer"].includes(column.name)
  const kind = { email: "who", message: "id" }[column.name] ?? (long ? "long" : "")
  const made = element("td", { class: `text ${kind}`, title: kind === "id" ? value : undefined })
  if (value && column.find) made.append(follow(element("a"), { find: value }, () => document.querySelector("#panel-history h2")?.focus()))
  else if (value && panel.name === "domains" && column.name === "domain") made.append(follow(element("a"), { domain: value }, () => document.querySelector("#panel-answers h2")?.focus()))
  ;(made.firstChild ?? made).append(text || "–")
  return made
}

export function table(panel, rows, shown = rows.length) {
  const largest = panel.columns.map((column, place) => (column.bar ? Math.max(...rows.map((row) => row[place])) : 0))
  const head = panel.columns.map((column) =>
    element("th", { scope: "col", class: NUMBERS.has(column.format) ? "number" : "" }, column.title))
  const mark = panel.columns.findIndex((column) => column.name === panel.apart)
  const apart = (number) => mark >= 0 && number > 0 && rows[number][mark] !== rows[number - 1][mark]
  const body = rows.slice(0, shown).map((row, number) =>
    element("tr", { class: apart(number) ? "apart" : undefined }, ...panel.columns.map((column, place) => cell(panel, column, row[place], largest[place]))))
  return element(
    "div", { class: "scroll", tabindex: "0", role: "region", "aria-label": panel.title },
    element("table", {}, element("thead", {}, element("tr", {}, ...head)), element("tbody", {}, ...body)),
  )
}

function rowsOf(panel, answer, content) {
  if (!answer.rows.length) {
    content.replaceChildren(element("p", { class: "note" }, panel.empty))
    return
  }
  const few = panel.needs ? 200 : panel.shape === "events" ? 12 : FEW
  const all = content.dataset.all === "yes"
  const focused = content.contains(document.activeElement) ? document.activeElement.textContent : null
  const place = content.querySelector(".scroll")?.scrollLeft ?? 0
  const parts = [table(panel, answer.rows, all ? answer.rows.length : few)]
  if (answer.rows.length > few) {
    parts.push(element(
      "button", { type: "button", class: "quiet", "aria-expanded": String(all), onclick: () => {
        content.dataset.all = all ? "" : "yes"
        rowsOf(panel, answer, content)
        content.querySelector("button")?.focus()
      } },
      all ? "Show fewer" : `Show all ${count(answer.rows.length)}`,
    ))
  }
  content.replaceChildren(...parts)
  content.querySelector(".scroll").scrollLeft = place
  if (focused) [...content.querySelectorAll("a, button")].find((each) => each.textContent === focused)?.focus()
}

function values(panel, answer, content) {
  const facts = panel.columns.map((column, place) =>
    element("div", {}, element("dt", {}, column.title), element("dd", {}, written(answer.rows[0][place], column.format))))
  content.replaceChildren(element("dl", { class: "facts" }, ...facts))
}

export const SHAPES = { rates, funnel, lines: drawLines, table: rowsOf, events: rowsOf, values }
