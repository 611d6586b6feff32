// Checks the alert rules and the dashboard of this folder, with Grafana's own grammar of LogQL.
//
// scripts/monitoring runs it, with this folder and the rules as JSON, because node reads no YAML. Each
// rule counts the lines of samples.json that it should count, and no other.
import { readFileSync } from "node:fs";
import { parser } from "@grafana/lezer-logql";

const [folder, rulesAsJson] = process.argv.slice(2);
const read = (path) => JSON.parse(readFileSync(path, "utf8"));
const rules = read(rulesAsJson).groups.flatMap((group) => group.rules);
const samples = read(`${folder}/samples.json`);
const dashboard = read(`${folder}/grafana_dashboards/token-distributor.json`);

let bad = 0;
const complain = (text) => {
  console.error(text);
  bad += 1;
};

function parse(name, text) {
  // Grafana puts values in place of its variables before Loki sees them.
  const query = text.replaceAll("$__interval", "5m");
  const filters = [];
  parser.parse(query).iterate({
    enter: (node) => {
      if (node.type.isError) complain(`${name}: not LogQL at ${node.from}: ${query}`);
      if (node.name === "LineFilter") filters.push(query.slice(node.from, node.to));
    },
  });
  return filters;
}

function matches(filters, line) {
  return filters.every((filter) => {
    const [, kind, text] = filter.match(/^(\|=|\|~)\s*("(?:[^"\\]|\\.)*")$/);
    const wanted = JSON.parse(text);
    return kind === "|=" ? line.includes(wanted) : new RegExp(wanted).test(line);
  });
}

for (const { alert, expr, labels, annotations } of rules) {
  const filters = parse(alert, expr);
  if (filters.length === 0) complain(`${alert}: counts every line`);
  if (!labels?.severity || !annotations?.summary || !annotations?.description) {
    complain(`${alert}: has no severity, summary or description`);
  }
  const { counts = [], "does not count": others = [] } = samples[alert] ?? {};
  if (counts.length === 0 || others.length === 0) complain(`${alert}: has no samples`);
  for (const line of counts) if (!matches(filters, line)) complain(`${alert}: misses ${line}`);
  for (const line of others) if (matches(filters, line)) complain(`${alert}: counts ${line}`);
}
for (const name of Object.keys(samples)) {
  if (!rules.some((rule) => rule.alert === name)) complain(`samples.json: no rule ${name}`);
}
const ids = new Set();
for (const panel of dashboard.panels) {
  if (ids.has(panel.id)) complain(`dashboard: two panels ${panel.id}`);
  ids.add(panel.id);
  for (const target of panel.targets) parse(`dashboard, ${panel.title}`, target.expr);
}
console.log(`${rules.length} rules and ${dashboard.panels.length} panels: ${bad} complaints`);
process.exit(bad ? 1 : 0);
