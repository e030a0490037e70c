// Lines over time, by uPlot. Which events are shown is chosen with buttons; the same numbers are there as a table.

import { color, dot, element } from "./elements.js"
import { EVENTS, count, time } from "./format.js"

const HIDDEN = new Set()
const EACH = { 60: "a minute", 300: "in 5 minutes", 3600: "an hour", 86400: "a day" }
let chart = null
let drawn = ""

export function drawLines(panel, answer, content) {
  const { start, end, step, rows } = answer
  if (!rows.length) {
    chart?.destroy()
    chart = null
    drawn = ""
    content.replaceChildren(element("p", { class: "note" }, panel.empty))
    return
  }
  const first = Math.floor(start / step) * step
  const length = Math.floor((end - 1) / step) - first / step + 1
  const times = Array.from({ length }, (_, place) => first + place * step)
  const sums = new Map()
  for (const [second, event, events] of rows) {
    if (!sums.has(event)) sums.set(event, new Array(length).fill(0))
    const place = (second - first) / step
    if (place >= 0 && place < length) sums.get(event)[place] = events
  }
  const names = Object.keys(EVENTS).filter((name) => sums.has(name))
  const data = [times, ...names.map((name) => sums.get(name))]
  const looks = matchMedia("(prefers-color-scheme: dark)").matches
  const kind = [names, step, looks, content.clientWidth].join()
  if (chart && kind === drawn) chart.setData(data)
  else make(panel, content, names, data, step)
  drawn = kind
  label(panel, content, names, data, step, null)
  const numbers = content.querySelector("details")
  numbers.answer = { times, names, data }
  if (numbers.open) fill(numbers)
}

function make(panel, content, names, data, step) {
  chart?.destroy()
  const box = element("div", { class: "chart", role: "img" })
  const keys = element("div", { class: "keys" })
  const when = element("p", { class: "when" })
  const numbers = element(
    "details", { ontoggle: () => fill(numbers) },
    element("summary", {}, "As a table"),
    element("div", { class: "numbers", tabindex: "0", role: "region", "aria-label": `${panel.title}: numbers` }),
  )
  content.replaceChildren(box, when, keys, numbers)
  for (const name of names) {
    const key = element(
      "button", { type: "button", "aria-pressed": String(!HIDDEN.has(name)), "data-event": name, onclick: () => {
        HIDDEN.has(name) ? HIDDEN.delete(name) : HIDDEN.add(name)
        key.setAttribute("aria-pressed", String(!HIDDEN.has(name)))
        chart.setSeries(names.indexOf(name) + 1, { show: !HIDDEN.has(name) })
      } },
      dot(name), element("span", {}, EVENTS[name]), element("b"),
    )
    keys.append(key)
  }
  const axis = { stroke: color("muted"), grid: { stroke: color("line"), width: 1 }, ticks: { show: false }, font: "12px system-ui, sans-serif" }
  chart = new uPlot(
    {
      width: content.clientWidth, height: 250, legend: { show: false }, tzDate: (second) => uPlot.tzDate(new Date(second * 1000), "Etc/UTC"),
      cursor: { drag: { x: false, y: false }, points: { size: 6 } },
      axes: [
        { ...axis, values: times },
        { ...axis, size: 58, values: (_, ticks) => ticks.map((tick) => (Number.isInteger(tick) ? short(tick) : "")) },
      ],
      scales: { y: { range: (_, __, most) => [0, Math.max(most * 1.08, 1)] } },
      series: [{}, ...names.map((name) => ({
        label: EVENTS[name], stroke: color(name), width: 1.8, show: !HIDDEN.has(name),
        points: { show: data[0].length < 3 }, fill: name === "delivered" ? `${color(name)}18` : undefined,
      }))],
      hooks: { setCursor: [(self) => label(panel, content, names, self.data, step, self.cursor.idx)] },
    },
    data, box,
  )
  if (make.watch) make.watch.disconnect()
  make.watch = new ResizeObserver(() => chart?.root.isConnected && chart.setSize({ width: content.clientWidth, height: 250 }))
  make.watch.observe(content)
}

function label(panel, content, names, data, step, place) {
  const totals = names.map((_, index) => data[index + 1].reduce((sum, each) => sum + each, 0))
  const values = place === null || place === undefined ? totals : data.slice(1).map((events) => events[place])
  content.querySelectorAll(".keys b").forEach((each, index) => (each.textContent = count(values[index])))
  content.querySelector(".when").textContent =
    place === null || place === undefined ? `Events ${EACH[step]}. Totals:` : `${time(data[0][place]).slice(0, 16)} UTC, ${EACH[step]}:`
  if (place === null) {
    const said = names.map((name, index) => `${EVENTS[name]} ${count(totals[index])}`).join(", ")
    content.querySelector(".chart").setAttribute("aria-label", `${panel.title}, ${EACH[step]}. Totals: ${said}`)
  }
}

function fill(numbers) {
  if (!numbers.open) return
  const { times, names, data } = numbers.answer
  const head = ["Time (UTC)", ...names.map((name) => EVENTS[name])].map((title) => element("th", { scope: "col" }, title))
  const lines = times.map((second, place) =>
    element("tr", {}, element("td", { class: "time" }, time(second).slice(0, 16)),
      ...names.map((_, index) => element("td", { class: "number" }, count(data[index + 1][place])))))
  numbers.querySelector(".numbers").replaceChildren(
    element("table", {}, element("thead", {}, element("tr", {}, ...head)), element("tbody", {}, ...lines.reverse())))
}

function times(_, ticks, __, ___, step) {
  return ticks.map((tick, place) => {
    const text = time(tick)
    const midnight = text.slice(11, 16) === "00:00"
    return step >= 86400 || midnight ? text.slice(5, 10) : text.slice(11, 16)
  })
}

function short(value) {
  return value >= 1e6 ? `${+(value / 1e6).toFixed(1)}M` : value >= 1e4 ? `${+(value / 1e3).toFixed(1)}k` : count(value)
}
