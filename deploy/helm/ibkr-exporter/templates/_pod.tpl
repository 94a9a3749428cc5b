{{/*
The exporter's container and its volumes: for the Deployment here, and for the chart of a gateway that has this chart as a
dependency and runs the exporter beside the gateway, in its pod:

  containers:
    {{- include "ibkr-exporter.container" (index .Subcharts "ibkr-exporter") | nindent 8 }}
  volumes:
    {{- include "ibkr-exporter.volumes" (index .Subcharts "ibkr-exporter") | nindent 8 }}
*/}}
{{- define "ibkr-exporter.container" -}}
- name: ibkr-exporter
  image: {{ include "ibkr-exporter.image" . }}
  imagePullPolicy: {{ .Values.image.pullPolicy }}
  args:
    - serve
    - --config=/etc/ibkr-exporter/exporter.yaml
    {{- with .Values.extraArgs }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  env:
    - name: IBKR_EXPORTER_LISTEN
      value: :9497
    {{- with .Values.extraEnv }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  {{- with .Values.extraEnvFrom }}
  envFrom:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  ports:
    - name: http-ibkr
      containerPort: 9497
      protocol: TCP
  livenessProbe:
    {{- include "ibkr-exporter.health" (list . .Values.livenessProbe "healthy") | nindent 4 }}
  readinessProbe:
    {{- include "ibkr-exporter.health" (list . .Values.readinessProbe "ready") | nindent 4 }}
  resources:
    {{- toYaml .Values.resources | nindent 4 }}
  securityContext:
    {{- toYaml .Values.securityContext | nindent 4 }}
  volumeMounts:
    - name: ibkr-exporter-config
      mountPath: /etc/ibkr-exporter
      readOnly: true
    - name: ibkr-exporter-tmp
      mountPath: /tmp
    {{- if .Values.webConfig.existingSecret }}
    - name: ibkr-exporter-web
      mountPath: /etc/ibkr-exporter-web
      readOnly: true
    {{- end }}
    {{- if .Values.secretFiles.existingSecret }}
    - name: ibkr-exporter-secrets
      mountPath: {{ .Values.secretFiles.mountPath }}
      readOnly: true
    {{- end }}
    {{- with .Values.extraVolumeMounts }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
{{- end }}

{{- define "ibkr-exporter.volumes" -}}
- name: ibkr-exporter-config
  {{- if or .Values.configExistingSecret .Values.secretConfig }}
  secret:
    secretName: {{ default (include "ibkr-exporter.fullname" .) .Values.configExistingSecret }}
  {{- else }}
  configMap:
    name: {{ include "ibkr-exporter.fullname" . }}
  {{- end }}
- name: ibkr-exporter-tmp
  emptyDir:
    sizeLimit: {{ .Values.tmpSizeLimit }}
{{- with .Values.webConfig.existingSecret }}
- name: ibkr-exporter-web
  secret:
    secretName: {{ . }}
{{- end }}
{{- with .Values.secretFiles.existingSecret }}
- name: ibkr-exporter-secrets
  secret:
    secretName: {{ . }}
{{- end }}
{{- with .Values.extraVolumes }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{/*
(list . VALUES PATH): the probe of the values, or the one that fits. A web configuration file may ask for a password or a
certificate, and kubelet has neither: the image's own check takes a refusal for an answer. So it is where the configuration or
its options are not known here, and where they may name such a file or another path.
*/}}
{{- define "ibkr-exporter.health" -}}
{{- $top := index . 0 }}
{{- if index . 1 }}
{{- toYaml (index . 1) }}
{{- else if or $top.Values.webConfig.existingSecret (dig "web" "config_file" "" $top.Values.config) $top.Values.configExistingSecret $top.Values.extraArgs -}}
exec:
  command: {{ include "ibkr-exporter.healthcheck" $top }}
timeoutSeconds: 5
{{- else -}}
httpGet:
  path: {{ include "ibkr-exporter.routePrefix" $top }}/-/{{ index . 2 }}
  port: http-ibkr
timeoutSeconds: 5
{{- end }}
{{- end }}

{{/* The image's own check of the address in IBKR_EXPORTER_LISTEN. */}}
{{- define "ibkr-exporter.healthcheck" -}}
[python, -I, -S, /opt/ibkr-exporter/healthcheck.py]
{{- end }}
