// The page: its panels, when they are asked for anew, and what the controls do.

import { copy, element } from "./elements.js"
import { count, seconds, time } from "./format.js"
import { SHAPES } from "./shapes.js"
import { go, query, view } from "./view.js"

const REFRESH = 1000 // milliseconds between two refreshes, at least
const SHARE = 4 // and so many times as long as the answer takes: a slow ClickHouse is not asked all the time
const STALE = 30000 // and at most, where nothing new came: the window moves on
const AGAIN = 2000
const ORDER = ["history", "rates", "funnel", "timeline", "domains", "answers", "bounces", "drops", "slowest", "links",
  "campaigns", "categories", "tail", "complaints", "freshness", "letters"]

const byId = (id) => document.getElementById(id)
const sleep = (milliseconds) => new Promise((done) => setTimeout(done, milliseconds))
const panels = new Map()
let page = null
let paused = false
let revision = -1
let generation = 0

async function fetched(path) {
  const response = await fetch(path, { headers: { Accept: "application/json" } })
  const content = await response.json().catch(() => ({ error: `the server answered ${response.status}` }))
  if (!response.ok) throw new Error(content.error ?? response.statusText)
  return content
}

class PanelOnPage {
  constructor(declared) {
    this.declared = declared
    this.content = element("div", { class: "content" }, element("p", { class: "note" }, "…"))
    this.foot = element("p", { class: "foot" })
    this.answer = null
    this.asking = false
    this.dirty = true
    this.visible = false
    this.at = 0
    this.took = 0
    const title = element("h2", { id: `title-${declared.name}`, tabindex: "-1" }, declared.title)
    this.title = title
    const header = element("header", {}, title)
    if (declared.needs) {
      header.append(element("button", { type: "button", class: "quiet", onclick: () => go({ [declared.needs]: "" }) }, "Close"))
    }
    header.append(element("button", { type: "button", class: "quiet sql", "aria-label": `SQL of ${declared.title}`, onclick: () => showSql(this) }, "SQL"))
    this.root = element(
      "section", { class: "panel", id: `panel-${declared.name}`, "aria-labelledby": `title-${declared.name}` },
      header, element("p", { class: "meaning" }, declared.meaning), this.content, this.foot,
    )
  }

  // What is shown is the answer to another question.
  get busy() {
    return this.root.getAttribute("aria-busy") === "true"
  }

  set busy(is) {
    this.root.setAttribute("aria-busy", String(is))
  }

  get needed() {
    return !this.declared.needs || Boolean(view()[this.declared.needs])
  }

  show() {
    this.root.hidden = !this.needed
    if (this.declared.needs) this.title.textContent = `${this.declared.title}: ${view()[this.declared.needs]}`
  }

  async refresh() {
    if (this.asking || !this.needed) return
    this.asking = true
    this.dirty = false
    const asked = generation
    const started = performance.now()
    const more = this.declared.needs ? { [this.declared.needs]: view()[this.declared.needs] } : {}
    try {
      const answer = await fetched(`api/panels/${this.declared.name}?${query(more)}`)
      if (asked !== generation) return
      this.answer = answer
      this.root.classList.remove("stale")
      this.busy = false
      SHAPES[this.declared.shape](this.declared, answer, this.content)
      this.foot.textContent = `${answer.milliseconds < 1 ? "<1" : Math.round(answer.milliseconds)} ms`
    } catch (error) {
      if (asked !== generation) return
      if (this.answer) this.root.classList.add("stale")
      else this.content.replaceChildren(element("p", { class: "note bad" }, error.message))
      this.busy = false
      this.foot.textContent = this.answer ? `Not up to date: ${error.message}` : ""
      this.dirty = true
      await sleep(AGAIN)
    } finally {
      this.asking = false
      this.at = performance.now()
      this.took = this.at - started
      if (asked !== generation) this.dirty = true
      this.root.dataset.revision = revision
    }
  }
}

function showSql(panel) {
  const sql = panel.answer?.sql ?? "Not asked yet."
  const button = element("button", { type: "button", onclick: async () => {
    await copy(sql)
    button.textContent = "Copied"
    say("SQL copied")
  } }, "Copy SQL")
  const dialog = element(
    "dialog", { "aria-label": `SQL of ${panel.declared.title}`, onclose: () => dialog.remove() },
    element("header", {}, element("h2", {}, panel.declared.title), button,
      element("button", { type: "button", onclick: () => dialog.close() }, "Close")),
    element("pre", { tabindex: "0" }, element("code", {}, sql)),
  )
  document.body.append(dialog)
  dialog.showModal()
}

function say(text) {
  byId("said").textContent = text
}

function trouble(text) {
  byId("trouble").hidden = !text
  if (byId("trouble").textContent !== text) byId("trouble").textContent = text
}

function state(kind, text) {
  byId("state").className = kind
  if (byId("state").textContent !== text) byId("state").textContent = text
}

// Waits for something new, for as long as the page is open.
async function watchChanges() {
  for (;;) {
    if (paused || document.hidden) {
      await sleep(300)
      continue
    }
    const asked = generation
    try {
      const found = await fetched(`api/changes?${query({ since: String(revision) })}`)
      if (asked !== generation || paused) continue
      trouble(found.trouble && `ClickHouse does not answer as it should; what is shown may be old. ${found.trouble}`)
      const counting = found.counted < 1 && !found.trouble ? ` Counting the past: ${Math.floor(found.counted * 100)}%.` : ""
      state(found.trouble ? "broken" : "live", found.trouble ? "Waiting for ClickHouse" : `Live.${counting}`)
      if (found.revision !== revision) {
        revision = found.revision
        for (const panel of panels.values()) panel.dirty = true
      }
      await sleep(found.trouble ? AGAIN : REFRESH / 4)
    } catch (error) {
      if (!paused) state("broken", "No connection to gridstream")
      await sleep(AGAIN)
    }
  }
}

async function keepFresh() {
  for (;;) {
    const now = performance.now()
    if (!document.hidden) {
      for (const panel of panels.values()) {
        if (paused && !panel.busy) continue
        const due = panel.dirty ? Math.max(REFRESH, SHARE * panel.took) : STALE
        if (panel.visible && now - panel.at > due) panel.refresh()
      }
    }
    await sleep(100)
  }
}

async function watchHealth() {
  for (;;) {
    if (!document.hidden && !paused) {
      try {
        showHealth(await fetched(`api/health?${query()}`))
      } catch (error) {
        byId("pipeline").replaceChildren(element("p", { class: "note bad" }, error.message))
      }
    }
    await sleep(2000)
  }
}

function showHealth(health) {
  const fact = (title, value, more, tone = "") =>
    element("div", {}, element("dt", {}, title), element("dd", { class: tone }, value, element("small", {}, more)))
  const facts = []
  const waits = Object.values(health.lag).reduce((sum, lag) => sum + lag, 0)
  const ago = (at) => (at ? `${seconds(Math.max(0, health.now - at))} ago` : "not known yet")
  facts.push(health.lag_trouble
    ? fact("Lag", "not known", health.lag_trouble, "bad")
    : fact("Lag", `${count(waits)} records`, ago(health.lag_at)))
  const account = health.account
  if (account) {
    const verdict = account.balanced ? "balanced" : account.in_flight ? "in flight" : "NOT balanced"
    facts.push(
      fact("Accounting", verdict, `taken ${ago(health.account_at)}`, verdict === "NOT balanced" ? "bad" : account.balanced ? "good" : ""),
      fact("Accepted", count(account.accepted), `${count(account.duplicates)} repeats, ${count(account.malformed)} malformed`),
      fact("Rows", count(account.rows), `${count(account.in_flight)} in flight`),
      fact("Dead letters", count(account.dead_letters), account.dead_letters ? "below: why" : "none", account.dead_letters ? "bad" : ""),
    )
    if (account.missing) facts.push(fact("Missing", count(account.missing), "raw records without a trace", "bad"))
    if (account.expired) facts.push(fact("Expired", count(account.expired), "taken by retention unread", "bad"))
  } else facts.push(fact("Accounting", "not known", health.account_trouble || "being taken", health.account_trouble ? "bad" : ""))
  const stopped = Object.entries(health.roles).filter(([, role]) => role !== "running").map(([name]) => name)
  if (account) facts.push(fact("Roles", stopped.length ? `${stopped.join(", ")} stopped` : "all running", Object.keys(health.roles).join(", "), stopped.length ? "bad" : ""))
  byId("pipeline").replaceChildren(element("dl", { class: "facts" }, ...facts))
}

function showControls() {
  const { source, range, from, to, tests, find } = view()
  byId("source").value = source || page.sources[0]
  byId("range").value = from || to ? "custom" : range || page.default_range
  byId("custom").hidden = byId("range").value !== "custom"
  byId("from").value = from.slice(0, 16)
  byId("to").value = to.slice(0, 16)
  byId("tests").checked = tests === "1"
  byId("find").value = find
}

function onView() {
  generation += 1
  showControls()
  for (const panel of panels.values()) {
    panel.dirty = true
    panel.at = 0
    panel.busy = true
    panel.show()
  }
}

function onControl() {
  const custom = byId("range").value === "custom"
  byId("custom").hidden = !custom
  const source = byId("source").value === page.sources[0] ? "" : byId("source").value
  const tests = byId("tests").checked ? "1" : ""
  if (!custom) {
    const range = byId("range").value === page.default_range ? "" : byId("range").value
    go({ source, tests, range, from: "", to: "" })
  } else if (byId("from").value && byId("to").value) {
    go({ source, tests, range: "", from: byId("from").value, to: byId("to").value })
  } else {
    const now = Date.now()
    const text = (moment) => new Date(moment).toISOString().slice(0, 16)
    byId("from").value = text(now - 86400000)
    byId("to").value = text(now)
    byId("from").focus()
  }
}

async function start() {
  for (;;) {
    try {
      page = await fetched("api/page")
      break
    } catch (error) {
      trouble(error.message)
      await sleep(AGAIN)
    }
  }
  trouble("")
  byId("source").append(...page.sources.map((name) => element("option", { value: name }, name)))
  byId("source-label").hidden = page.sources.length < 2
  byId("range").append(...page.ranges.map(({ name, title }) => element("option", { value: name }, title)),
    element("option", { value: "custom" }, "From … to …"))
  const declared = new Map(page.panels.map((each) => [each.name, each]))
  const sight = new IntersectionObserver((entries) => {
    for (const { target, isIntersecting } of entries) panels.get(target.id.slice(6)).visible = isIntersecting
  }, { rootMargin: "150px" })
  for (const name of [...ORDER, ...declared.keys()]) {
    if (panels.has(name)) continue
    const panel = new PanelOnPage(declared.get(name))
    panels.set(name, panel)
    if (name === "freshness") {
      panel.title.textContent = "The pipeline itself"
      panel.content.before(element("div", { id: "pipeline" }))
    }
    byId("panels").append(panel.root)
    sight.observe(panel.root)
    if (!panel.declared.needs) byId("jumps").append(element("a", { href: `#panel-${name}` }, panel.title.textContent))
  }
  byId("search").addEventListener("submit", (event) => {
    event.preventDefault()
    go({ find: byId("find").value.trim() })
    panels.get("history").title.focus()
  })
  byId("view").addEventListener("submit", (event) => {
    event.preventDefault()
    onControl()
  })
  for (const id of ["source", "range", "tests"]) byId(id).addEventListener("change", onControl)
  byId("pause").addEventListener("click", () => {
    paused = !paused
    byId("pause").setAttribute("aria-pressed", String(paused))
    byId("pause").textContent = paused ? "Go on" : "Pause"
    state(paused ? "" : "live", paused ? `Paused at ${time(Date.now() / 1000).slice(11)} UTC` : "Live.")
  })
  byId("share").addEventListener("click", async () => {
    await copy(location.href)
    byId("share").textContent = "Link copied"
    say("Link copied")
    setTimeout(() => (byId("share").textContent = "Copy link"), 2000)
  })
  addEventListener("popstate", onView)
  addEventListener("viewchange", onView)
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", onView)
  onView()
  watchChanges()
  watchHealth()
  keepFresh()
}

start()
