{{- define "gateway.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 50 | trimSuffix "-" }}
{{- end }}

{{- define "gateway.fullname" -}}
{{- if .Values.fullnameOverride }}
{{- .Values.fullnameOverride | trunc 50 | trimSuffix "-" }}
{{- else if contains (include "gateway.name" .) .Release.Name }}
{{- .Release.Name | trunc 50 | trimSuffix "-" }}
{{- else }}
{{- printf "%s-%s" .Release.Name (include "gateway.name" .) | trunc 50 | trimSuffix "-" }}
{{- end }}
{{- end }}

{{- define "gateway.selector" -}}
app.kubernetes.io/name: {{ include "gateway.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: gateway
{{- end }}

{{- define "gateway.labels" -}}
{{ include "gateway.common" . }}
app.kubernetes.io/component: gateway
{{- end }}

{{- define "gateway.common" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
app.kubernetes.io/name: {{ include "gateway.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Values.image.tag | default .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- with .Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- define "gateway.image" -}}
{{- if .Values.image.digest -}}
{{ .Values.image.repository }}@{{ .Values.image.digest }}
{{- else -}}
{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end }}
{{- end }}

{{- define "gateway.serviceAccount" -}}
{{- if .Values.serviceAccount.create -}}
{{ default (include "gateway.fullname" .) .Values.serviceAccount.name }}
{{- else -}}
{{ default "default" .Values.serviceAccount.name }}
{{- end }}
{{- end }}

{{- define "gateway.claim" -}}
{{ default (include "gateway.fullname" .) .Values.persistence.existingClaim }}
{{- end }}

{{/* More than one pod at any time? */}}
{{- define "gateway.several" -}}
{{- if or .Values.autoscaling.enabled (gt (int .Values.replicaCount) 1) (gt (int .Values.workers) 1) }}yes{{ end }}
{{- end }}

{{/* What would not work is refused here, with what to do, before anything is applied. */}}
{{- define "gateway.checks" -}}
{{- if hasPrefix "sqlite:" .Values.store }}
{{- fail "store: a fleet needs PostgreSQL; SQLite serves one process (deploy/kubernetes.yaml has that). Write store: ${GATEWAY_STORE}" }}
{{- end }}
{{- if and (include "gateway.several" .) (hasPrefix "memory:" .Values.sharedState) }}
{{- fail "sharedState: several gateways share limits and cooldowns in Valkey or Redis. Write sharedState: ${GATEWAY_SHARED_STATE}" }}
{{- end }}
{{- range $name := list "store" "sharedState" }}
{{- if regexMatch "^[^$]*://[^/@]*:[^$@/][^@/]*@" (index $.Values $name) }}
{{- fail (printf "%s: a password stands in the values, and would stand in a ConfigMap. Put the URL into a Secret and write ${NAME}" $name) }}
{{- end }}
{{- end }}
{{- if include "gateway.several" . }}
{{- if not .Values.persistence.enabled }}
{{- fail "persistence.enabled: several gateways keep pictures and answers in one folder, and refuse to start without. Give a ReadWriteMany volume, or run one pod (replicaCount: 1, autoscaling.enabled: false)" }}
{{- end }}
{{- if and (not .Values.persistence.existingClaim) (not (has "ReadWriteMany" .Values.persistence.accessModes)) }}
{{- fail "persistence.accessModes: several gateways write one volume: ReadWriteMany is needed (NFS, CephFS, EFS, Filestore, Azure Files), or an existingClaim that has it" }}
{{- end }}
{{- end }}
{{- if le (int .Values.drain.preStopSeconds) (int .Values.drain.seconds) }}
{{- fail "drain.preStopSeconds must be more than drain.seconds" }}
{{- end }}
{{- if and .Values.autoscaling.enabled (gt (int .Values.autoscaling.minReplicas) (int .Values.autoscaling.maxReplicas)) }}
{{- fail "autoscaling.minReplicas is more than autoscaling.maxReplicas" }}
{{- end }}
{{- range $name := list "listen" "store" "shared_state" "workers" "drain" "drain_delay" }}
{{- if hasKey $.Values.config $name }}
{{- fail (printf "config.%s is set by the chart: use its own value (listenAddress, store, sharedState, workers, drain)" $name) }}
{{- end }}
{{- end }}
{{- end }}

{{/* The gateway's configuration: the values' config with what the chart sets on top. */}}
{{- define "gateway.config" -}}
{{- $set := dict
  "listen" (printf "%s:8400" .Values.listenAddress)
  "admin" (dict "listen" (printf "%s:8401" .Values.listenAddress))
  "store" .Values.store
  "shared_state" .Values.sharedState
  "workers" (int .Values.workers)
  "images" (dict "dir" "/data/images")
  "drain_delay" (printf "%ds" (int .Values.drain.delaySeconds))
  "drain" (printf "%ds" (int .Values.drain.seconds)) }}
{{- toYaml (mergeOverwrite (deepCopy .Values.config) $set) }}
{{- end }}

{{- define "gateway.podSecurity" -}}
runAsNonRoot: true
runAsUser: 10001
runAsGroup: 10001
fsGroup: 10001
fsGroupChangePolicy: OnRootMismatch
seccompProfile: {type: RuntimeDefault}
{{- end }}

{{- define "gateway.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
privileged: false
capabilities: {drop: [ALL]}
{{- end }}

{{/* Ends once nothing is in flight, after the time that it takes to be taken out of the service. */}}
{{- define "gateway.preStop" -}}
import os, re, time, urllib.request as http
key, end = os.environ.get("GATEWAY_ADMIN_KEY"), time.monotonic() + {{ int .Values.drain.preStopSeconds }}
ask = http.Request("http://127.0.0.1:8401/metrics", headers={"Authorization": "Bearer " + key} if key else {})
time.sleep({{ int .Values.drain.delaySeconds }})
while time.monotonic() < end:
    try:
        text = http.urlopen(ask, timeout=2).read().decode()
    except OSError as error:
        if isinstance(getattr(error, "reason", error), ConnectionRefusedError):
            break
        text = "gateway_requests_in_flight 1"
    if not sum(float(each) for each in re.findall(r"^gateway_requests_in_flight\S* (\S+)", text, re.M)):
        break
    time.sleep(0.5)
{{- end }}
