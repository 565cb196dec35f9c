{{- define "backfleet.name" -}}
{{- if contains .Chart.Name .Release.Name }}{{ .Release.Name | trunc 50 | trimSuffix "-" }}{{ else }}{{ printf "%s-%s" .Release.Name .Chart.Name | trunc 50 | trimSuffix "-" }}{{ end }}
{{- end }}

{{- define "backfleet.selector" -}}
app.kubernetes.io/name: backfleet
app.kubernetes.io/instance: {{ .Release.Name | trunc 63 | quote }}
{{- end }}

{{- define "backfleet.labels" -}}
{{ include "backfleet.selector" . }}
app.kubernetes.io/version: {{ .Values.image.tag | default .Chart.AppVersion | trunc 63 | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 }}
{{- end }}

{{- /* What both kinds of pod have in common. */}}
{{- define "backfleet.podSecurity" -}}
runAsNonRoot: true
runAsUser: 65532
runAsGroup: 65532
fsGroup: 65532
fsGroupChangePolicy: OnRootMismatch
seccompProfile: {type: RuntimeDefault}
{{- end }}

{{- define "backfleet.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: {drop: [ALL]}
{{- end }}

{{- define "backfleet.image" -}}
image: {{ printf "%s:%s" .Values.image.repository (.Values.image.tag | default .Chart.AppVersion) | quote }}
imagePullPolicy: {{ .Values.image.pullPolicy }}
{{- end }}

{{- define "backfleet.variable" -}}
{{ . | upper | replace "-" "_" }}
{{- end }}

{{- /* Environment of a member of the fleet; .creds is the NATS credentials of its role. */}}
{{- define "backfleet.env" -}}
{{- range $name, $db := .Values.databases }}
- {name: BACKFLEET_DATABASE_{{ include "backfleet.variable" $name }}_FILE, value: /etc/backfleet/databases/{{ $name }}}
{{- end }}
- {name: BACKFLEET_NATS_URL, value: {{ .Values.nats.url | quote }}}
{{- if .creds.secret }}
- {name: BACKFLEET_NATS_CREDS, value: /etc/backfleet/nats/creds}
{{- end }}
{{- if .Values.nats.ca.secret }}
- {name: BACKFLEET_NATS_TLS_CA, value: /etc/backfleet/nats/ca.crt}
{{- end }}
{{- end }}

{{- define "backfleet.replicasEnv" -}}
{{- range $name, $db := .Values.databases }}
{{- range $replica, $_ := $db.replicas }}
- {name: BACKFLEET_REPLICA_{{ include "backfleet.variable" $name }}__{{ include "backfleet.variable" $replica }}_FILE, value: /etc/backfleet/databases/{{ $name }}.{{ $replica }}}
{{- end }}
{{- end }}
{{- end }}

{{- define "backfleet.mounts" -}}
- {name: databases, mountPath: /etc/backfleet/databases, readOnly: true}
{{- if or .Values.postgresCA.secret .Values.postgresCA.configMap }}
- {name: postgres-ca, mountPath: /etc/backfleet/postgres, readOnly: true}
{{- end }}
{{- if or .creds.secret .Values.nats.ca.secret }}
- {name: nats, mountPath: /etc/backfleet/nats, readOnly: true}
{{- end }}
{{- end }}

{{- define "backfleet.volumes" -}}
{{- $replicas := .replicas }}
- name: databases
  projected:
    defaultMode: 0440
    sources:
      {{- range $name, $db := .Values.databases }}
      - secret:
          name: {{ $db.secret }}
          items: [{key: {{ $db.key | quote }}, path: {{ $name }}}]
      {{- if $replicas }}
      {{- range $replica, $from := $db.replicas }}
      - secret:
          name: {{ $from.secret }}
          items: [{key: {{ $from.key | quote }}, path: {{ $name }}.{{ $replica }}}]
      {{- end }}
      {{- end }}
      {{- end }}
{{- if .Values.postgresCA.secret }}
- {name: postgres-ca, secret: {secretName: {{ .Values.postgresCA.secret }}, defaultMode: 0440}}
{{- else if .Values.postgresCA.configMap }}
- {name: postgres-ca, configMap: {name: {{ .Values.postgresCA.configMap }}}}
{{- end }}
{{- if or .creds.secret .Values.nats.ca.secret }}
- name: nats
  projected:
    defaultMode: 0440
    sources:
      {{- with .creds }}
      {{- if .secret }}
      - secret:
          name: {{ .secret }}
          items: [{key: {{ .key | quote }}, path: creds}]
      {{- end }}
      {{- end }}
      {{- with .Values.nats.ca }}
      {{- if .secret }}
      - secret:
          name: {{ .secret }}
          items: [{key: {{ .key | quote }}, path: ca.crt}]
      {{- end }}
      {{- end }}
{{- end }}
{{- end }}

{{- define "backfleet.placement" -}}
{{- with .nodeSelector }}
nodeSelector: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .tolerations }}
tolerations: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .affinity }}
affinity: {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}
