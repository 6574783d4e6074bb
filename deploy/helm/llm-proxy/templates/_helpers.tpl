{{- define "llm-proxy.name" -}}
{{- if contains "llm-proxy" .Release.Name -}}
{{ .Release.Name }}
{{- else -}}
{{ .Release.Name }}-llm-proxy
{{- end -}}
{{- end -}}

{{- define "llm-proxy.selector" -}}
app.kubernetes.io/name: llm-proxy
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "llm-proxy.labels" -}}
{{ include "llm-proxy.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end -}}

{{- define "llm-proxy.secret" -}}
{{- if .Values.secret.existing -}}
{{ .Values.secret.existing }}
{{- else -}}
{{ include "llm-proxy.name" . }}
{{- end -}}
{{- end -}}
