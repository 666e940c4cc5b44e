{{- /* Made from operator/waystation_operator/cluster/permissions.py by `python -m charts.generate`; edit that. */}}

{{- /* In every namespace that is watched. */}}
{{- define "waystation.rules" -}}
{{- /* They are what to do; patch sets the finalizer. */}}
- apiGroups: ["waystation.dev"]
  resources: [relaypools]
  verbs: [get, list, watch, patch]
{{- /* They are what to do. */}}
- apiGroups: ["waystation.dev"]
  resources: [mailroutes]
  verbs: [get, list, watch]
{{- /* What became of them. */}}
- apiGroups: ["waystation.dev"]
  resources: [relaypools/status, mailroutes/status]
  verbs: [patch]
{{- /* To own objects that go with the pool, where the API server demands it. */}}
- apiGroups: ["waystation.dev"]
  resources: [relaypools/finalizers]
  verbs: [update]
{{- /* The relays of a pool. */}}
- apiGroups: ["apps"]
  resources: [statefulsets]
  verbs: [get, list, watch, create, patch]
{{- /* The address of a pool, and of each relay; the relays' account, which may do nothing. */}}
- apiGroups: [""]
  resources: [services, serviceaccounts]
  verbs: [get, list, watch, create, patch]
{{- /* Relays are not evicted all at once. */}}
- apiGroups: ["policy"]
  resources: [poddisruptionbudgets]
  verbs: [get, list, watch, create, patch]
{{- /* Where a pool asks for one. */}}
- apiGroups: ["networking.k8s.io"]
  resources: [networkpolicies]
  verbs: [get, list, watch, create, patch, delete]
{{- /* Where a pool asks for one. */}}
- apiGroups: ["monitoring.coreos.com"]
  resources: [podmonitors]
  verbs: [get, create, patch, delete]
{{- /* Their state and addresses; patch marks those that drain, and hastens a new configuration. */}}
- apiGroups: [""]
  resources: [pods]
  verbs: [get, list, watch, patch]
{{- /* Queues: they grow, and go when they are proven empty. */}}
- apiGroups: [""]
  resources: [persistentvolumeclaims]
  verbs: [get, list, watch, patch, delete]
{{- /* What happened, for `kubectl describe`. */}}
- apiGroups: ["events.k8s.io"]
  resources: [events]
  verbs: [create, patch]
{{- end -}}

{{- /* With the whole cluster. */}}
{{- define "waystation.clusterRules" -}}
{{- /* A listener's allowedRoutes chooses them by label. */}}
- apiGroups: [""]
  resources: [namespaces]
  verbs: [list, watch]
{{- end -}}

{{- /* In a watched namespace: a Role may allow its own namespace to be read. */}}
{{- define "waystation.namespaceRules" -}}
{{- /* A listener's allowedRoutes chooses them by label. */}}
- apiGroups: [""]
  resources: [namespaces]
  verbs: [get]
{{- end -}}

{{- /* In a namespace of pools. */}}
{{- define "waystation.poolSecretRules" -}}
{{- /* Certificates and credentials are read by name; the pool's own two are written. */}}
- apiGroups: [""]
  resources: [secrets]
  verbs: [get, create, patch]
{{- end -}}

{{- /* In another namespace whose routes name Secrets. */}}
{{- define "waystation.secretReaderRules" -}}
{{- /* Credentials that routes name, by name; nothing is listed. */}}
- apiGroups: [""]
  resources: [secrets]
  verbs: [get]
{{- end -}}
