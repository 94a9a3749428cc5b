// The alert and recording rules and the dashboards as a mixin: the same files as everywhere else, with your names in them.
//
//   local ibkr = (import 'deploy/mixin.libsonnet') + { _config+:: { exporterJob: 'gateways' } };
//
// Groups stay whole: their rules are evaluated in order, and alerts read what was recorded right before them.
{
  _config+:: {
    // the jobs under which Prometheus scrapes the exporter, itself and Alertmanager
    exporterJob: 'ibkr',
    prometheusJob: 'prometheus',
    alertmanagerJob: 'alertmanager',
    // where your browser reaches the exporter, for the links of the dashboards
    exporterUrl: 'http://127.0.0.1:9497',
    // false where you have the mixins of Prometheus and Alertmanager
    monitoring: true,
  },

  local config = self._config,
  local named(text) = std.foldl(
    function(found, job) std.strReplace(found, 'job="%s"' % job.ours, 'job="%s"' % job.yours),
    // by way of names that nobody has: yours may be another one of ours
    [
      { ours: 'ibkr', yours: '\u0001' },
      { ours: 'prometheus', yours: '\u0002' },
      { ours: 'alertmanager', yours: '\u0003' },
      { ours: '\u0001', yours: config.exporterJob },
      { ours: '\u0002', yours: config.prometheusJob },
      { ours: '\u0003', yours: config.alertmanagerJob },
    ],
    text
  ),
  local groups = std.flatMap(
    function(text) std.parseYaml(named(text)).groups,
    [
      importstr './prometheus/rules/pages.yml',
      importstr './prometheus/rules/tickets.yml',
      importstr './prometheus/rules/calendar.yml',
      importstr './prometheus/rules/availability.yml',
    ] + if config.monitoring then [importstr './prometheus/rules/monitoring.yml'] else []
  ),
  local alerts(group) = std.length(std.filter(function(rule) std.objectHas(rule, 'alert'), group.rules)) > 0,
  local board(text) = std.parseJson(std.strReplace(text, 'http://127.0.0.1:9497', config.exporterUrl)),

  prometheusAlerts+:: { groups+: std.filter(alerts, groups) },
  prometheusRules+:: { groups+: std.filter(function(group) !alerts(group), groups) },
  grafanaDashboards+:: {
    'fleet.json': board(importstr './grafana/dashboards/fleet.json'),
    'gateway.json': board(importstr './grafana/dashboards/gateway.json'),
    'libraries.json': board(importstr './grafana/dashboards/libraries.json'),
  },
}
