{{- /* The beginning of every name: at most 40 characters, so that 63 are enough for all of it. */}}
{{- define "waystation.fullname" -}}
{{- $name := default .Chart.Name .Values.nameOverride -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 40 | trimSuffix "-" -}}
{{- else if contains $name .Release.Name -}}
{{- .Release.Name | trunc 40 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name $name | trunc 40 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- define "waystation.operator" -}}
{{ include "waystation.fullname" . }}-operator
{{- end -}}

{{- define "waystation.serviceAccount" -}}
{{- if .Values.operator.serviceAccount.create -}}
{{ default (include "waystation.operator" .) .Values.operator.serviceAccount.name }}
{{- else -}}
{{ default "default" .Values.operator.serviceAccount.name }}
{{- end -}}
{{- end -}}

{{- /* What selects the operator's pods: never changes within a release. Network policies of pools rely on name and component. */}}
{{- define "waystation.selector" -}}
app.kubernetes.io/name: waystation
app.kubernetes.io/component: operator
app.kubernetes.io/instance: {{ .Release.Name | trunc 63 | trimSuffix "-" }}
{{- end -}}

{{- /* Of a list (root, further labels): the labels of an object. Nobody's labels replace those that select. */}}
{{- define "waystation.labels" -}}
{{- $root := index . 0 -}}
{{- $labels := dict
  "app.kubernetes.io/part-of" "waystation"
  "app.kubernetes.io/managed-by" $root.Release.Service
  "app.kubernetes.io/version" $root.Chart.AppVersion
  "helm.sh/chart" (printf "%s-%s" $root.Chart.Name $root.Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-")
-}}
{{- toYaml (mergeOverwrite $labels $root.Values.commonLabels (index . 1) (include "waystation.selector" $root | fromYaml)) -}}
{{- end -}}

{{- /* Of a list (root, image values): the reference to pull. */}}
{{- define "waystation.image" -}}
{{- $root := index . 0 -}}
{{- $image := index . 1 -}}
{{- $repository := $image.repository -}}
{{- with $root.Values.imageRegistry -}}
{{- $repository = printf "%s/%s" (trimSuffix "/" .) $image.repository -}}
{{- end -}}
{{- if $image.digest -}}
{{ $repository }}@{{ $image.digest }}
{{- else -}}
{{ $repository }}:{{ default $root.Chart.AppVersion $image.tag }}
{{- end -}}
{{- end -}}

{{- /* Where `helm test` makes its pool: a namespace whose Secrets the operator may write; empty: there is none. */}}
{{- define "waystation.testNamespace" -}}
{{- $granted := concat .Values.watchNamespaces .Values.poolNamespaces -}}
{{- if .Values.test.namespace -}}
{{ .Values.test.namespace }}
{{- else if has .Release.Namespace $granted -}}
{{ .Release.Namespace }}
{{- else if $granted -}}
{{ first $granted }}
{{- end -}}
{{- end -}}

{{- define "waystation.podSecurity" -}}
runAsNonRoot: true
{{- if not (kindIs "invalid" .Values.operator.runAsUser) }}
runAsUser: {{ int .Values.operator.runAsUser }}
runAsGroup: {{ int .Values.operator.runAsUser }}
{{- end }}
seccompProfile: {type: RuntimeDefault}
{{- end -}}

{{- define "waystation.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: {drop: [ALL]}
{{- end -}}

{{- define "waystation.subject" -}}
- kind: ServiceAccount
  name: {{ include "waystation.serviceAccount" . }}
  namespace: {{ .Release.Namespace }}
{{- end -}}
