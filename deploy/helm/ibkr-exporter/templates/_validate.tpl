{{/* What values.schema.json cannot say, because it is about several values. */}}
{{- define "ibkr-exporter.validate" -}}
{{- $sources := omit .Values.config "clients" "defaults" "maintenance" "web" "log" "targets" }}
{{- if and (not .Values.config.targets) (not $sources) (not .Values.configExistingSecret) }}
{{- fail "config.targets: nothing to watch. Add a target (name, host, port), or a network under config.probe.allow" }}
{{- end }}
{{- with .Values.config.web }}
{{- if or .listen .systemd_socket }}
{{- fail "config.web: leave out listen and systemd_socket. The container listens on port 9497, where the Service and the probes look for it" }}
{{- end }}
{{- end }}
{{- $several := or .Values.autoscaling.enabled (gt (int .Values.replicas) 1) }}
{{- if and $several (include "ibkr-exporter.watches" .) .Values.deployment.enabled }}
{{- fail "config.targets, config.file_sd_configs, config.http_sd_configs: several pods would connect to each of these with the same client ids. Set replicas to 1 and autoscaling.enabled to false, or leave the targets to Prometheus (config.probe.allow and probe or gatewayMonitor)" }}
{{- end }}
{{- if and .Values.probe.enabled (not .Values.probe.targets) }}
{{- fail "probe.targets: nothing to probe. Name targets, or let gatewayMonitor find them" }}
{{- end }}
{{- if and .Values.podDisruptionBudget.minAvailable .Values.podDisruptionBudget.maxUnavailable }}
{{- fail "podDisruptionBudget: minAvailable or maxUnavailable, not both" }}
{{- end }}
{{- end }}
