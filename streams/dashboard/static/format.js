// How values are written. Everything is text: nothing here makes markup.

const number = new Intl.NumberFormat("en")
const decimal = new Intl.NumberFormat("en", { maximumFractionDigits: 1 })
const share = new Intl.NumberFormat("en", { style: "percent", maximumSignificantDigits: 3, minimumSignificantDigits: 3 })

export const EVENTS = {
  processed: "Processed", delivered: "Delivered", open: "Opened", machine_open: "Opened by a machine", click: "Clicked",
  deferred: "Deferred", bounce: "Bounced", blocked: "Blocked", dropped: "Dropped", spamreport: "Spam report",
  unsubscribe: "Unsubscribed", group_unsubscribe: "Left a group", group_resubscribe: "Joined a group again",
  account_status_change: "Account changed", unknown: "Unknown",
}

export const count = (value) => (value === null ? "–" : number.format(value))
export const percent = (value) => (value === null ? "–" : value === 0 ? "0%" : share.format(value))

export function points(difference) {
  const value = Math.abs(difference * 100)
  return `${value >= 10 ? value.toFixed(1) : value.toFixed(2)} pts`
}

export function seconds(value) {
  if (value === null) return "–"
  if (value < 1) return `${Math.round(value * 1000)} ms`
  if (value < 90) return `${decimal.format(value)} s`
  if (value < 5400) return `${Math.floor(value / 60)} min ${Math.round(value % 60)} s`
  return `${Math.floor(value / 3600)} h ${Math.round((value % 3600) / 60)} min`
}

export function time(value) {
  if (value === null) return "–"
  const text = typeof value === "number" ? new Date(value * 1000).toISOString() : value
  return text.slice(0, 19).replace("T", " ")
}

const WRITTEN = { count, percent, seconds, time, decimal: (value) => decimal.format(value), event: (value) => EVENTS[value] ?? value }

export const written = (value, format) => (WRITTEN[format] ?? String)(value)
