{{- /* What the operator may do in a namespace that it watches, Secrets aside. */}}
{{- define "waystation.rules" -}}
- apiGroups: [waystation.dev]
  resources: [relaypools]
  verbs: [get, list, watch, patch]
- apiGroups: [waystation.dev]
  resources: [mailroutes]
  verbs: [get, list, watch]
- apiGroups: [waystation.dev]
  resources: [relaypools/status, mailroutes/status]
  verbs: [get, patch, update]
{{- /* So that its objects may hold up a pool's deletion, where the API server asks for that. */}}
- apiGroups: [waystation.dev]
  resources: [relaypools/finalizers]
  verbs: [update]
- apiGroups: [apps]
  resources: [statefulsets]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [""]
  resources: [services, serviceaccounts]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [policy]
  resources: [poddisruptionbudgets]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [networking.k8s.io]
  resources: [networkpolicies]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [monitoring.coreos.com]
  resources: [podmonitors]
  verbs: [get, create, patch, delete]
- apiGroups: [""]
  resources: [pods]
  verbs: [get, list, watch, patch]
- apiGroups: [""]
  resources: [persistentvolumeclaims]
  verbs: [get, list, watch, patch, delete]
- apiGroups: [events.k8s.io]
  resources: [events]
  verbs: [create, patch]
{{- end -}}

{{- /* Where pools live: their own Secrets are written, the ones that they and routes name are read. By name only: nothing is listed. */}}
{{- define "waystation.poolSecretRules" -}}
- apiGroups: [""]
  resources: [secrets]
  verbs: [get, create, patch, delete]
{{- end -}}

{{- define "waystation.subject" -}}
- kind: ServiceAccount
  name: {{ include "waystation.serviceAccount" . }}
  namespace: {{ .Release.Namespace }}
{{- end -}}
