{{/*
(list . INSTANCE KEYS): the endpoints of a monitor. As deploy/prometheus/prometheus.yml scrapes: what rules read often, and
the details, which only dashboards read, less often under a job of their own whose series are given the name of the first.
INSTANCE is relabelings that give the label `instance`, KEYS what else each endpoint has (port, scheme, ...).
*/}}
{{- define "ibkr-exporter.endpoints" -}}
{{- $top := index . 0 }}
{{- $instance := index . 1 }}
{{- $keys := index . 2 }}
{{- $details := "ibkr_.+_(duration|lag)_seconds(_bucket|_sum|_count)?|ibkr_(probe_failures|connections_opened)_total|python_.+" }}
{{- with $top.Values.serviceMonitor }}
- {{- toYaml $keys | nindent 2 }}
  interval: {{ .interval }}
  scrapeTimeout: {{ .scrapeTimeout }}
  relabelings:
    - targetLabel: job
      replacement: {{ $top.Values.job }}
    {{- $instance | nindent 4 }}
    {{- with .relabelings }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  {{- if or .details.enabled .metricRelabelings }}
  metricRelabelings:
    {{- if .details.enabled }}
    - sourceLabels: [__name__]
      regex: {{ $details }}
      action: drop
    {{- end }}
    {{- with .metricRelabelings }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  {{- end }}
{{- if .details.enabled }}
- {{- toYaml $keys | nindent 2 }}
  interval: {{ .details.interval }}
  scrapeTimeout: {{ .details.scrapeTimeout }}
  relabelings:
    - targetLabel: job
      replacement: {{ $top.Values.job }}-details
    {{- $instance | nindent 4 }}
    {{- with .relabelings }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  metricRelabelings:
    - sourceLabels: [__name__]
      regex: {{ $details }}
      action: keep
    - targetLabel: job
      replacement: {{ $top.Values.job }}
    {{- with .metricRelabelings }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
{{- end }}
{{- end }}
{{- end }}

{{/* The label `instance` is namespace and name of the pod. */}}
{{- define "ibkr-exporter.instanceOfPod" -}}
- sourceLabels: [namespace, pod]
  separator: /
  targetLabel: instance
{{- end }}
