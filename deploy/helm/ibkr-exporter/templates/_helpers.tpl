{{- define "ibkr-exporter.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" }}
{{- end }}

{{- define "ibkr-exporter.fullname" -}}
{{- $name := default .Chart.Name .Values.nameOverride }}
{{- if .Values.fullnameOverride }}
{{- .Values.fullnameOverride | trunc 63 | trimSuffix "-" }}
{{- else if contains $name .Release.Name }}
{{- .Release.Name | trunc 63 | trimSuffix "-" }}
{{- else }}
{{- printf "%s-%s" .Release.Name $name | trunc 63 | trimSuffix "-" }}
{{- end }}
{{- end }}

{{/* include "ibkr-exporter.suffixed" (list . "suffix"): fullname-suffix, at most 63 characters, the suffix whole. */}}
{{- define "ibkr-exporter.suffixed" -}}
{{- $suffix := last . }}
{{- printf "%s-%s" (include "ibkr-exporter.fullname" (first .) | trunc (sub 62 (len $suffix) | int) | trimSuffix "-") $suffix }}
{{- end }}

{{- define "ibkr-exporter.namespace" -}}
{{- default .Release.Namespace .Values.namespaceOverride }}
{{- end }}

{{- define "ibkr-exporter.serviceAccountName" -}}
{{- default (ternary (include "ibkr-exporter.fullname" .) "default" .Values.serviceAccount.create) .Values.serviceAccount.name }}
{{- end }}

{{- define "ibkr-exporter.selectorLabels" -}}
app.kubernetes.io/name: {{ include "ibkr-exporter.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "ibkr-exporter.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
{{ include "ibkr-exporter.selectorLabels" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- with .Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{/* The head of a resource: (list . NAME NAMESPACE LABELS ANNOTATIONS), the last two possibly empty. */}}
{{- define "ibkr-exporter.metadata" -}}
{{- $top := index . 0 -}}
metadata:
  name: {{ index . 1 }}
  namespace: {{ default (include "ibkr-exporter.namespace" $top) (index . 2) }}
  labels:
    {{- include "ibkr-exporter.labels" $top | nindent 4 }}
    {{- with index . 3 }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  {{- with index . 4 }}
  annotations:
    {{- toYaml . | nindent 4 }}
  {{- end }}
{{- end }}

{{- define "ibkr-exporter.image" -}}
{{- with .Values.image -}}
{{- with .registry }}{{ . }}/{{ end }}{{ .repository }}:{{ default $.Chart.AppVersion .tag }}{{ with .digest }}@{{ . }}{{ end }}
{{- end }}
{{- end }}

{{/* What the file of the configuration holds. */}}
{{- define "ibkr-exporter.config" -}}
{{- $config := deepCopy .Values.config }}
{{- if and .Values.webConfig.existingSecret (not (dig "web" "config_file" "" $config)) }}
{{- $_ := set $config "web" (merge (dict "config_file" (printf "/etc/ibkr-exporter-web/%s" .Values.webConfig.key)) (default dict $config.web)) }}
{{- end }}
{{- toYaml $config }}
{{- end }}

{{/* Not empty where the exporter has targets of its own, and so connects to them with its client ids. */}}
{{- define "ibkr-exporter.watches" -}}
{{- with .Values.config }}{{ if or .targets .file_sd_configs .http_sd_configs }}yes{{ end }}{{ end }}
{{- end }}

{{/* The path below which everything is served: web.route_prefix, by default the path of web.external_url. */}}
{{- define "ibkr-exporter.routePrefix" -}}
{{- $web := default dict .Values.config.web }}
{{- $prefix := trimAll "/" (default (get (urlParse (default "" $web.external_url)) "path") $web.route_prefix) }}
{{- with $prefix }}/{{ . }}{{ end }}
{{- end }}

{{/* The address of the Service, without a scheme. */}}
{{- define "ibkr-exporter.address" -}}
{{- printf "%s.%s.svc:%d" (include "ibkr-exporter.fullname" .) (include "ibkr-exporter.namespace" .) (int .Values.service.port) }}
{{- end }}
