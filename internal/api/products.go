package api

import (
	"context"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/tollgate-io/tollgate/internal/auth"
	"github.com/tollgate-io/tollgate/internal/catalog"
	"github.com/tollgate-io/tollgate/internal/db"
	"github.com/tollgate-io/tollgate/internal/org"
	"github.com/tollgate-io/tollgate/internal/problem"
)

type productView struct {
	ID             string        `json:"id"`
	OrganisationID string        `json:"organisation_id" doc:"The provider"`
	Name           string        `json:"name"`
	Kind           string        `json:"kind" enum:"model"`
	Title          catalog.Text  `json:"title"`
	Description    catalog.Text  `json:"description"`
	Model          string        `json:"model" doc:"Public model id; may contain slashes"`
	Capabilities   []string      `json:"capabilities"`
	Input          []string      `json:"input_modalities"`
	Output         []string      `json:"output_modalities"`
	Context        int64         `json:"context" doc:"Tokens; 0: not stated"`
	MaxOutput      int64         `json:"max_output" doc:"Tokens"`
	State          string        `json:"state" enum:"draft,published,suspended,retired"`
	Reason         string        `json:"reason,omitempty"`
	Versions       []versionView `json:"versions"`
	Created        time.Time     `json:"created"`
	Updated        time.Time     `json:"updated"`
	Published      time.Time     `json:"published,omitzero" doc:"First time"`
}

type versionView struct {
	ID      string       `json:"id"`
	Name    string       `json:"name"`
	Release string       `json:"release" enum:"stable,canary,blue,green,retired"`
	Share   int64        `json:"share" doc:"Percent of the product's traffic"`
	Targets []targetView `json:"targets,omitempty" doc:"For those who may see the provider's upstreams"`
	Created time.Time    `json:"created"`
	Updated time.Time    `json:"updated"`
}

type targetView struct {
	ID         string `json:"id"`
	UpstreamID string `json:"upstream_id"`
	Upstream   string `json:"upstream"`
	Model      string `json:"model"`
	Priority   int64  `json:"priority"`
	Weight     int64  `json:"weight"`
}

// showProduct shows a product; its targets to those who may see the provider's upstreams.
func (s *server) showProduct(tx *db.Tx, c *call, p *catalog.Product) (productView, error) {
	v := productView{ID: p.ID, OrganisationID: p.OrgID, Name: p.Name, Kind: string(p.Kind), Title: p.Title, Description: p.Description, Model: p.Model,
		Capabilities: words[string](p.Capabilities), Input: words[string](p.Input), Output: words[string](p.Output), Context: p.Context,
		MaxOutput: p.MaxOutput, State: string(p.State), Reason: p.Reason, Versions: []versionView{}, Created: p.Created, Updated: p.Updated, Published: p.Published}
	inside := auth.Can(c.principal, "upstream.read", p.OrgID)
	name := s.upstreamName(tx)
	for _, x := range p.Versions {
		version := versionView{ID: x.ID, Name: x.Name, Release: string(x.Release), Share: x.Share, Created: x.Created, Updated: x.Updated}
		for _, t := range x.Targets {
			if !inside {
				break
			}
			upstream, err := name(t.UpstreamID)
			if err != nil {
				return v, err
			}
			version.Targets = append(version.Targets, targetView{t.ID, t.UpstreamID, upstream, t.UpstreamModel, t.Priority, t.Weight})
		}
		v.Versions = append(v.Versions, version)
	}
	return v, nil
}

func (s *server) productObject(tx *db.Tx, c *call, p *catalog.Product, err error) (*object[productView], error) {
	if err != nil {
		return nil, err
	}
	v, err := s.showProduct(tx, c, p)
	return single(p.Revision, v), err
}

type productInput struct {
	Name string `json:"name" minLength:"1" maxLength:"63"`
	ProductTerms
}

type productEdit struct {
	Title        *catalog.Text `json:"title,omitempty"`
	Description  *catalog.Text `json:"description,omitempty"`
	Model        *string       `json:"model,omitempty" maxLength:"200" doc:"Fixed once the product has been published"`
	Capabilities *[]string     `json:"capabilities,omitempty" maxItems:"10"`
	Input        *[]string     `json:"input_modalities,omitempty" maxItems:"10"`
	Output       *[]string     `json:"output_modalities,omitempty" maxItems:"10"`
	Context      *int64        `json:"context,omitempty" minimum:"0"`
	MaxOutput    *int64        `json:"max_output,omitempty" minimum:"0"`
	Definition   *string       `json:"definition,omitempty" doc:"Empty: made from the rest"`
}

func set[T any](to *T, from *T) {
	if from != nil {
		*to = *from
	}
}

func (e *productEdit) onto(in catalog.ProductInput) catalog.ProductInput {
	set(&in.Title, e.Title)
	set(&in.Description, e.Description)
	set(&in.Model, e.Model)
	set(&in.Context, e.Context)
	set(&in.MaxOutput, e.MaxOutput)
	set(&in.Definition, e.Definition)
	if e.Capabilities != nil {
		in.Capabilities = words[catalog.Capability](*e.Capabilities)
	}
	if e.Input != nil {
		in.Input = words[catalog.Modality](*e.Input)
	}
	if e.Output != nil {
		in.Output = words[catalog.Modality](*e.Output)
	}
	return in
}

// InProduct is the input of an operation on a product.
type InProduct struct {
	InOrg
	Product string `path:"product" maxLength:"63" doc:"Name or id of the product"`
}

type stateOfProduct struct {
	InProduct
	IfMatch
	Body *reason
}

// productAt finds a product that the caller may do the action to.
func (s *server) productAt(tx *db.Tx, c *call, in InProduct, action auth.Action) (org.Org, *catalog.Product, error) {
	o, err := organisation(tx, c, in.Org, action)
	if err != nil {
		return o, nil, err
	}
	p, err := s.Catalog.ProductNamedTx(tx, o.ID, in.Product)
	return o, p, err
}

func (s *server) products() {
	read(s, route("list-products", "GET /organisations/{org}/products", "List a provider's products"), s.listProducts)
	change(s, route("create-product", "POST /organisations/{org}/products", "Create a product, as a draft", tagged("products"), created),
		func(tx *db.Tx, c *call, in *struct {
			InOrg
			Body productInput
		}) (*object[productView], error) {
			o, err := organisation(tx, c, in.Org, "product.create")
			if err != nil {
				return nil, err
			}
			p, err := s.Catalog.CreateProductTx(tx, c.actor, o.ID, in.Body.input(in.Body.Name))
			if err != nil {
				return nil, err
			}
			v, err := s.showProduct(tx, c, p)
			return made(p.Revision, "/organisations/"+o.Name+"/products/"+p.Name, v), err
		})
	view(s, route("get-product", "GET /organisations/{org}/products/{product}", "Get a product", tagged("products")),
		func(tx *db.Tx, c *call, in *InProduct) (*object[productView], error) {
			_, p, err := s.productAt(tx, c, *in, "product.read")
			return s.productObject(tx, c, p, err)
		})
	s.editProduct("update-product", "PATCH /organisations/{org}/products/{product}", "Edit a product", "product.update")
	for _, x := range []struct {
		verb    string
		action  auth.Action
		summary string
		set     func(tx *db.Tx, c *call, id string, rev int64, reason string) (*catalog.Product, error)
	}{
		{"publish", "product.publish", "Put a product on sale", func(tx *db.Tx, c *call, id string, rev int64, _ string) (*catalog.Product, error) {
			return s.Plans.PublishProductTx(tx, c.actor, id, rev)
		}},
		{"suspend", "product.suspend", "Suspend a product: its calls are refused", func(tx *db.Tx, c *call, id string, rev int64, reason string) (*catalog.Product, error) {
			return s.Catalog.SuspendProductTx(tx, c.actor, id, rev, reason)
		}},
		{"resume", "product.resume", "End a product's suspension", func(tx *db.Tx, c *call, id string, rev int64, _ string) (*catalog.Product, error) {
			return s.Catalog.ResumeProductTx(tx, c.actor, id, rev)
		}},
		{"retire", "product.retire", "Retire a product, for good", func(tx *db.Tx, c *call, id string, rev int64, reason string) (*catalog.Product, error) {
			return s.Catalog.RetireProductTx(tx, c.actor, id, rev, reason)
		}},
	} {
		change(s, route(x.verb+"-product", "POST /organisations/{org}/products/{product}/"+x.verb, x.summary, tagged("products")),
			func(tx *db.Tx, c *call, in *stateOfProduct) (*object[productView], error) {
				_, p, err := s.productAt(tx, c, in.InProduct, x.action)
				if err != nil {
					return nil, err
				}
				rev, err := in.based(false)
				if err != nil {
					return nil, err
				}
				p, err = x.set(tx, c, p.ID, rev, in.Body.text())
				return s.productObject(tx, c, p, err)
			})
	}
	s.versions()
	s.definition()
}

func (s *server) listProducts(ctx context.Context, c *call, in *struct {
	InOrg
	Page
	State string `query:"state" enum:"draft,published,suspended,retired"`
}) (*listOutput[productView], error) {
	o, err := s.at(ctx, c, in.Org, "product.read")
	if err != nil {
		return nil, err
	}
	items, more, err := s.Catalog.Products(ctx, catalog.Filter{OrgID: o.ID, State: catalog.State(in.State)}, in.After, in.Limit)
	if err != nil {
		return nil, err
	}
	out := page(items, more, func(p *catalog.Product) string { return p.ID }, func(*catalog.Product) productView { return productView{} })
	err = s.DB.View(ctx, func(tx *db.Tx) (err error) {
		for i, p := range items {
			if out.Body.Items[i], err = s.showProduct(tx, c, p); err != nil {
				return err
			}
		}
		return nil
	})
	return out, err
}

// editProduct registers the edit of what a provider states.
func (s *server) editProduct(id, pattern, summary string, action auth.Action) {
	change(s, route(id, pattern, summary, tagged("products")),
		func(tx *db.Tx, c *call, in *struct {
			InProduct
			IfMatch
			Body productEdit
		}) (*object[productView], error) {
			_, p, err := s.productAt(tx, c, in.InProduct, action)
			if err != nil {
				return nil, err
			}
			rev, err := in.based(true)
			if err != nil {
				return nil, err
			}
			p, err = s.Catalog.UpdateProductTx(tx, c.actor, p.ID, rev, in.Body.onto(p.Stated()))
			return s.productObject(tx, c, p, err)
		})
}

type versionInput struct {
	Name    string      `json:"name" minLength:"1" maxLength:"63"`
	Targets []targetDoc `json:"targets,omitempty" maxItems:"64"`
}

// versions registers the operations on versions, their targets and the release.
func (s *server) versions() {
	const base = "/organisations/{org}/products/{product}"
	change(s, route("create-product-version", "POST "+base+"/versions", "Add a version to a product", tagged("products"), created,
		about("The first one becomes stable with all the traffic, others a canary with none.")),
		func(tx *db.Tx, c *call, in *struct {
			InProduct
			IfMatch
			Body versionInput
		}) (*object[productView], error) {
			return s.release(tx, c, in.InProduct, in.IfMatch, false, func(p *catalog.Product, rev int64) (*catalog.Product, error) {
				return s.Catalog.CreateVersionTx(tx, c.actor, p.ID, rev, catalog.VersionInput{Name: in.Body.Name, Targets: targetInputs(in.Body.Targets)})
			})
		})
	change(s, route("set-product-targets", "PUT "+base+"/versions/{version}/targets", "Set the targets of a version", tagged("products")),
		func(tx *db.Tx, c *call, in *struct {
			InProduct
			IfMatch
			Version string `path:"version" maxLength:"63" doc:"Name or id of the version"`
			Body    struct {
				Targets []targetDoc `json:"targets" maxItems:"64"`
			} `nameHint:"Targets"`
		}) (*object[productView], error) {
			return s.release(tx, c, in.InProduct, in.IfMatch, true, func(p *catalog.Product, rev int64) (*catalog.Product, error) {
				return s.Catalog.SetTargetsTx(tx, c.actor, p.ID, rev, in.Version, targetInputs(in.Body.Targets))
			})
		})
	change(s, route("set-product-release", "PUT "+base+"/release", "Split a product's traffic over its versions", tagged("products"),
		about("Versions that are not named stay as they are; the shares of all that are not retired must sum to 100.")),
		func(tx *db.Tx, c *call, in *struct {
			InProduct
			IfMatch
			Body struct {
				Release []catalog.ReleaseInput `json:"release" maxItems:"200"`
			} `nameHint:"Release"`
		}) (*object[productView], error) {
			return s.release(tx, c, in.InProduct, in.IfMatch, true, func(p *catalog.Product, rev int64) (*catalog.Product, error) {
				return s.Catalog.SetReleaseTx(tx, c.actor, p.ID, rev, in.Body.Release)
			})
		})
}

// release does something to the versions of a product.
func (s *server) release(tx *db.Tx, c *call, in InProduct, m IfMatch, match bool, do func(p *catalog.Product, rev int64) (*catalog.Product, error)) (*object[productView], error) {
	_, p, err := s.productAt(tx, c, in, "product.release")
	if err != nil {
		return nil, err
	}
	rev, err := m.based(match)
	if err != nil {
		return nil, err
	}
	p, err = do(p, rev)
	return s.productObject(tx, c, p, err)
}

type definitionOutput struct {
	ContentType string `header:"Content-Type"`
	Stated      bool   `header:"Tollgate-Stated" doc:"The provider stated it; else it is made from the rest"`
	Body        []byte
}

func (s *server) definition() {
	op := route("get-product-definition", "GET /organisations/{org}/products/{product}/definition", "Get a product's API definition", tagged("products"),
		about("An OpenAPI document. That of a published product is public to all keys."))
	op.Responses["200"] = &huma.Response{Description: "The definition", Content: map[string]*huma.MediaType{
		"application/openapi+json": {Schema: &huma.Schema{Type: huma.TypeObject, AdditionalProperties: true}}, "application/openapi+yaml": {Schema: &huma.Schema{Type: huma.TypeString}}}}
	read(s, op, func(ctx context.Context, c *call, in *InProduct) (*definitionOutput, error) {
		var p *catalog.Product
		err := s.DB.View(ctx, func(tx *db.Tx) (err error) {
			if p, err = s.published(tx, in); p != nil || err != nil && !problem.Is(err, problem.NotFound) {
				return err
			}
			_, p, err = s.productAt(tx, c, *in, "product.read")
			return err
		})
		if err != nil {
			return nil, err
		}
		text, stated, err := s.Catalog.Definition(ctx, p.ID)
		if err != nil {
			return nil, err
		}
		out := &definitionOutput{ContentType: "application/openapi+yaml", Stated: stated, Body: []byte(text)}
		if len(text) > 0 && text[0] == '{' {
			out.ContentType = "application/openapi+json"
		}
		return out, nil
	})
}

// published finds a product that is on sale, whoever asks; nil if it is not.
func (s *server) published(tx *db.Tx, in *InProduct) (*catalog.Product, error) {
	o, err := findOrg(tx, in.Org)
	if err != nil {
		return nil, err
	}
	p, err := s.Catalog.ProductNamedTx(tx, o.ID, in.Product)
	if err != nil || p.State != catalog.Published {
		return nil, err
	}
	return p, nil
}
