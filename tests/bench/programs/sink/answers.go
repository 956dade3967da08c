package main

import (
	"encoding/xml"
	"io"
	"net/http"
)

// The documents of S3, as far as clients look at them.

type refusalAnswer struct {
	XMLName                 xml.Name `xml:"Error"`
	Code, Message, Resource string
}

type initiated struct {
	XMLName     xml.Name `xml:"InitiateMultipartUploadResult"`
	Bucket, Key string
	UploadID    string `xml:"UploadId"`
}

type completion struct {
	Parts []struct {
		Number int `xml:"PartNumber"`
	} `xml:"Part"`
}

type completed struct {
	XMLName           xml.Name `xml:"CompleteMultipartUploadResult"`
	Bucket, Key, ETag string
}

type deletedKey struct {
	Key string
}

type deletion struct {
	Quiet   bool
	Objects []deletedKey `xml:"Object"`
}

type deleted struct {
	XMLName xml.Name `xml:"DeleteResult"`
	Deleted []deletedKey
}

type location struct {
	XMLName xml.Name `xml:"LocationConstraint"`
}

type listedBucket struct {
	Name, CreationDate string
}

type bucketList struct {
	XMLName xml.Name       `xml:"ListAllMyBucketsResult"`
	Buckets []listedBucket `xml:"Buckets>Bucket"`
}

type listed struct {
	Key, LastModified, ETag string
	Size                    int64
	StorageClass            string
}

type commonPrefix struct {
	Prefix string
}

type listing struct {
	XMLName               xml.Name `xml:"ListBucketResult"`
	Name, Prefix          string
	Delimiter             string `xml:",omitempty"`
	MaxKeys, KeyCount     int
	IsTruncated           bool
	EncodingType          string `xml:",omitempty"`
	NextContinuationToken string `xml:",omitempty"`
	Contents              []listed
	CommonPrefixes        []commonPrefix
}

func answer(w http.ResponseWriter, document any) error {
	w.Header().Set("Content-Type", "application/xml")
	return writeXML(w, document)
}

func writeXML(w io.Writer, document any) error {
	if _, err := io.WriteString(w, xml.Header); err != nil {
		return err
	}
	return xml.NewEncoder(w).Encode(document)
}
