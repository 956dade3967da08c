{{/* Name of every object of this release. */}}
{{- define "waypost.fullname" -}}
{{- $name := .Values.fullnameOverride | default (contains .Chart.Name .Release.Name | ternary .Release.Name (printf "%s-%s" .Release.Name .Chart.Name)) -}}
{{- $name | trunc 53 | trimSuffix "-" -}}
{{- end }}

{{/* What the Deployment selects its pods by; must never change between versions. */}}
{{- define "waypost.selectorLabels" -}}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "waypost.labels" -}}
{{ include "waypost.selectorLabels" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end }}

{{- define "waypost.serviceAccountName" -}}
{{- .Values.serviceAccount.name | default (.Values.serviceAccount.create | ternary (include "waypost.fullname" .) "default") -}}
{{- end }}

{{- define "waypost.image" -}}
{{- with .Values.image -}}
{{- if .digest -}}
{{ .repository }}@{{ .digest }}
{{- else -}}
{{ .repository }}:{{ .tag | default $.Chart.AppVersion }}
{{- end -}}
{{- end -}}
{{- end }}

{{/* The user's affinity, with our preference for nodes that aren't spot added to its list. One term, so that it takes
     all four labels to be fine; NotIn is also true where a label is absent. */}}
{{- define "waypost.affinity" -}}
{{- $affinity := deepCopy .Values.affinity -}}
{{- if .Values.preferNonSpotNodes -}}
{{- $nonSpot := include "waypost.nonSpot" . | fromYaml -}}
{{- $node := $affinity.nodeAffinity | default dict -}}
{{- $preferred := append ($node.preferredDuringSchedulingIgnoredDuringExecution | default list) $nonSpot -}}
{{- $_ := set $node "preferredDuringSchedulingIgnoredDuringExecution" $preferred -}}
{{- $_ := set $affinity "nodeAffinity" $node -}}
{{- end -}}
{{- with $affinity }}{{ toYaml . }}{{ end -}}
{{- end }}

{{- define "waypost.nonSpot" -}}
weight: 100
preference:
  matchExpressions:
    - {key: eks.amazonaws.com/capacityType, operator: NotIn, values: ["SPOT"]}
    - {key: cloud.google.com/gke-spot, operator: NotIn, values: ["true"]}
    - {key: kubernetes.azure.com/scalesetpriority, operator: NotIn, values: ["spot"]}
    - {key: karpenter.sh/capacity-type, operator: NotIn, values: ["spot"]}
{{- end }}
