{{- define "kvgate.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 52 | trimSuffix "-" -}}
{{- else if contains (include "kvgate.name" .) .Release.Name -}}
{{- .Release.Name | trunc 52 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name (include "kvgate.name" .) | trunc 52 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- define "kvgate.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 52 | trimSuffix "-" -}}
{{- end -}}

{{/* What selects the pods of a component: list, context and name. */}}
{{- define "kvgate.selector" -}}
{{- $root := index . 0 -}}
app.kubernetes.io/name: {{ include "kvgate.name" $root }}
app.kubernetes.io/instance: {{ $root.Release.Name }}
app.kubernetes.io/component: {{ index . 1 }}
{{- end -}}

{{- define "kvgate.labels" -}}
{{- $root := index . 0 -}}
{{ include "kvgate.selector" . }}
app.kubernetes.io/version: {{ $root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ $root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" $root.Chart.Name $root.Chart.Version | replace "+" "_" }}
{{- end -}}

{{- define "kvgate.servedModelName" -}}
{{- default .Values.vllm.model .Values.vllm.servedModelName -}}
{{- end -}}

{{/* The kvgate.yaml that the pods read: the chart's, with .Values.config over it. */}}
{{- define "kvgate.config" -}}
{{- $set := dict "server" (list "host" "port" "tls") "operations" (list "host" "port" "token") "processor" (list "listen" "run_dir" "drain_timeout_s") "envoy" (list "concurrency") -}}
{{- range $section, $keys := $set -}}
{{- range $key := $keys -}}
{{- if hasKey (get $.Values.config $section | default dict) $key -}}
{{- fail (printf "config.%s.%s: the pods' ports, volumes and probes follow from the chart's own values; leave it out" $section $key) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- $operations := dict "host" "127.0.0.1" "port" .Values.operations.port -}}
{{- if .Values.operations.exposed -}}
{{- $operations = dict "host" "0.0.0.0" "port" .Values.operations.port "token" "${KVGATE_OPERATIONS_TOKEN}" "metrics_open" true -}}
{{- end -}}
{{- $server := dict "port" 8080 -}}
{{- if .Values.gateway.tls.secretName -}}
{{- $_ := set $server "tls" (dict "cert" "/etc/kvgate-tls/tls.crt" "key" "/etc/kvgate-tls/tls.key" "port" 8443) -}}
{{- end -}}
{{- $processor := dict "drain_timeout_s" .Values.gateway.drainTimeoutSeconds -}}
{{- $config := dict "server" $server "operations" $operations "processor" $processor "envoy" (dict "concurrency" .Values.gateway.envoyThreads) -}}
{{- if .Values.vllm.enabled -}}
{{- $service := printf "%s-vllm" (include "kvgate.fullname" .) -}}
{{- $replicas := list -}}
{{- range $index := until (int .Values.vllm.replicas) -}}
{{- $name := printf "%s-%d" $service $index -}}
{{- $url := printf "http://%s.%s.%s.svc:%d" $name $service $.Release.Namespace (int $.Values.vllm.port) -}}
{{- $replicas = append $replicas (dict "name" $name "url" $url) -}}
{{- end -}}
{{- $provider := dict "name" "vllm" "replicas" $replicas -}}
{{- if and .Values.lmcache.enabled .Values.lmcache.cacheTokens -}}
{{- $_ := set $provider "host_cache_tokens" (int .Values.lmcache.cacheTokens) -}}
{{- end -}}
{{- if and .Values.lmcache.enabled .Values.lmcache.l2Redis.host .Values.lmcache.l2Redis.cacheTokens -}}
{{- $_ := set $provider "remote_cache_tokens" (int .Values.lmcache.l2Redis.cacheTokens) -}}
{{- end -}}
{{- $model := dict "name" (include "kvgate.servedModelName" .) "image_tokens" .Values.vllm.imageTokens "deployments" (list (dict "provider" "vllm")) -}}
{{- $_ := set $config "providers" (list $provider) -}}
{{- $_ := set $config "models" (list $model) -}}
{{- end -}}
{{- mergeOverwrite $config (deepCopy .Values.config) | toYaml -}}
{{- end -}}

{{/* Seconds that a gateway pod may take to stop: preStop, then Envoy's requests, then the processor's. */}}
{{- define "kvgate.graceSeconds" -}}
{{- add .Values.gateway.preStopSeconds (mul 2 .Values.gateway.drainTimeoutSeconds) 20 -}}
{{- end -}}
